/* The filter of filter.ts once more, in C on libmilter: the reference of the differential test.
 *
 *   filter SOCKET STEPS ACTIONS [macros|demanding]
 *
 * SOCKET is the path of a UNIX socket; STEPS and ACTIONS are the bits to ask for where the MTA offers them ("demanding":
 * the actions also where it does not); "macros" asks for macros of its own choice. It prints a line once it listens, and
 * ends when its standard input does.
 *
 * What it answers depends on nothing but the bytes of the session: `do-reject` in a HELO name is a wish to reject there,
 * `eom-discard` in a sender one for the end of the message, a field `X-Do: add Name value` one for a modification. What the
 * callbacks have seen goes out in a field X-Seen at the end of the message. filter.ts has the list of the wishes.
 *
 * Build: cc -Wall -Wextra -o filter filter.c -lmilter -lpthread
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <libmilter/mfapi.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_EDITS 32
#define WORD 16

static unsigned long wanted_steps, wanted_actions;
static bool wants_macros, is_demanding;

/* --- what has been seen */

typedef struct {
  uint32_t hash;
  unsigned count;
} seen_t;

typedef struct {
  unsigned long steps;
  uint32_t connect, helo, mail;
  char client[128];
  seen_t recipients, refused, fields, body;
  bool skipped;
  unsigned headers_ended;
  char data[WORD], end_of_headers[WORD], end_of_message[WORD];
  char *edits[MAX_EDITS];
  unsigned edit_count;
} session_t;

#define FNV_START 2166136261u

/* FNV-1a, with a NUL behind each string. */
static uint32_t hash_bytes(uint32_t hash, const void *bytes, size_t length) {
  const unsigned char *byte = bytes;
  for (size_t i = 0; i < length; i++) hash = (hash ^ byte[i]) * 16777619u;
  return hash;
}

static uint32_t hash_string(uint32_t hash, const char *string) {
  return hash_bytes(hash, string, strlen(string) + 1);
}

static uint32_t hash_strings(uint32_t hash, char **strings) {
  for (; *strings != NULL; strings++) hash = hash_string(hash, *strings);
  return hash;
}

static void forget_message(session_t *session) {
  for (unsigned i = 0; i < session->edit_count; i++) free(session->edits[i]);
  session->edit_count = 0;
  session->recipients = session->refused = session->fields = session->body = (seen_t){ FNV_START, 0 };
  session->mail = FNV_START;
  session->skipped = false;
  session->headers_ended = 0;
  *session->data = *session->end_of_headers = *session->end_of_message = 0;
}

static void forget_session(session_t *session) {
  forget_message(session);
  session->connect = session->helo = FNV_START;
}

/* libmilter takes commands before the negotiation, so there may be no session yet. */
static session_t *session_of(SMFICTX *context) {
  session_t *session = smfi_getpriv(context);
  if (session == NULL) {
    session = calloc(1, sizeof *session);
    if (session == NULL) abort();
    forget_session(session);
    smfi_setpriv(context, session);
  }
  return session;
}

/* --- wishes */

/* Copies the word behind the first `prefix` in the text; an empty one if there is none. */
static void wish(char word[WORD], const void *text, size_t length, const char *prefix) {
  size_t used = 0;
  const char *found = memmem(text, length, prefix, strlen(prefix));
  if (found != NULL) {
    const char *end = (const char *)text + length;
    for (found += strlen(prefix); found < end && used < WORD - 1; found++) {
      if (!((*found >= 'a' && *found <= 'z') || (*found >= '0' && *found <= '9'))) break;
      word[used++] = *found;
    }
  }
  word[used] = 0;
}

/* What is legal at a stage beside continue, reject and tempfail. */
enum { ACCEPT = 1, DISCARD = 2, SKIP = 4 };

static sfsistat with_reply(SMFICTX *context, const char *word, const char *stage) {
  const char *code = word + strlen(word) - 3;
  char status[] = "0.7.1", text[80];
  status[0] = *code;
  if (strncmp(word, "bare", 4) == 0) {
    smfi_setreply(context, (char *)code, NULL, "no status");
  } else if (strncmp(word, "multi", 5) == 0) {
    snprintf(text, sizeof text, "%s says no", stage);
    /* Percent signs are doubled by the application here. */
    smfi_setmlreply(context, code, status, text, "", "and means 100%% no", NULL);
  } else if (strncmp(word, "long", 4) == 0) {
    char line[601];
    for (size_t i = 0; i < sizeof line - 1; i++) line[i] = i % 10 == 9 ? ' ' : 'x';
    line[sizeof line - 1] = 0;
    smfi_setreply(context, (char *)code, status, line);
  } else if (strncmp(word, "percent", 7) == 0) {
    smfi_setreply(context, (char *)code, status, "100% sure");
  } else {
    snprintf(text, sizeof text, "%s says 100%%%% no", stage);
    smfi_setreply(context, (char *)code, status, text);
  }
  return *code == '4' ? SMFIS_TEMPFAIL : SMFIS_REJECT;
}

static bool is_reply(const char *word) {
  static const char *const kinds[] = { "reply", "multi", "long", "percent", "bare" };
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    size_t length = strlen(kinds[i]);
    if (strncmp(word, kinds[i], length) == 0 && strlen(word) == length + 3) return strchr("45", word[length]) != NULL;
  }
  return false;
}

/* A verdict that a wish stands for; at a stage that is not answered there is none. */
static sfsistat answer(SMFICTX *context, const char *word, const char *stage, int legal, unsigned long no_reply) {
  session_t *session = session_of(context);
  if ((wanted_steps & no_reply) != 0) return SMFIS_NOREPLY;
  if (strcmp(word, "reject") == 0) return SMFIS_REJECT;
  if (strcmp(word, "tempfail") == 0) return SMFIS_TEMPFAIL;
  if (strcmp(word, "accept") == 0 && (legal & ACCEPT) != 0) return SMFIS_ACCEPT;
  if (strcmp(word, "discard") == 0 && (legal & DISCARD) != 0) return SMFIS_DISCARD;
  if (strcmp(word, "rawskip") == 0 && (legal & SKIP) != 0) return SMFIS_SKIP;
  if (strcmp(word, "skip") == 0 && (legal & SKIP) != 0) {
    session->skipped = true;
    return (session->steps & SMFIP_SKIP) != 0 ? SMFIS_SKIP : SMFIS_CONTINUE;
  }
  return is_reply(word) ? with_reply(context, word, stage) : SMFIS_CONTINUE;
}

static bool refuses(sfsistat verdict) {
  return verdict == SMFIS_REJECT || verdict == SMFIS_TEMPFAIL;
}

/* --- modifications */

/* Cuts the next word off the text. */
static char *next(char **text) {
  char *word = *text, *end = strchr(word, ' ');
  if (end == NULL) {
    *text = word + strlen(word);
  } else {
    *end = 0;
    *text = end + 1;
  }
  return word;
}

static void bracketed(char *target, size_t size, const char *address) {
  snprintf(target, size, strchr(address, '<') == NULL ? "<%s>" : "%s", address);
}

/* The value of a field; where the MTA leaves it to the filter, with the space after the colon. */
static void spaced(char *target, size_t size, const session_t *session, const char *value) {
  snprintf(target, size, "%s%s", *value != 0 && (session->steps & SMFIP_HDR_LEADSPC) != 0 ? " " : "", value);
}

static void edit(SMFICTX *context, const char *wished) {
  session_t *session = session_of(context);
  char *copy = strdup(wished), *rest = copy, *verb = next(&rest);
  char text[4200];
  if (strcmp(verb, "add") == 0) {
    char *name = next(&rest);
    spaced(text, sizeof text, session, rest);
    smfi_addheader(context, name, text);
  } else if (strcmp(verb, "insert") == 0 || strcmp(verb, "change") == 0) {
    int index = atoi(next(&rest));
    char *name = next(&rest);
    spaced(text, sizeof text, session, rest);
    if (*verb == 'i') smfi_insheader(context, index, name, text);
    else smfi_chgheader(context, name, index, text);
  } else if (strcmp(verb, "delete") == 0) {
    int index = atoi(next(&rest));
    smfi_chgheader(context, rest, index, NULL);
  } else if (strcmp(verb, "macro") == 0) {
    const char *value = smfi_getsymval(context, rest);
    spaced(text, sizeof text, session, value == NULL ? "undefined" : value);
    smfi_addheader(context, "X-Macro", text);
  } else if (strcmp(verb, "client") == 0) {
    spaced(text, sizeof text, session, session->client);
    smfi_addheader(context, "X-Client", text);
  } else if (strcmp(verb, "addrcpt") == 0) {
    bracketed(text, sizeof text, rest);
    smfi_addrcpt(context, text);
  } else if (strcmp(verb, "barercpt") == 0) {
    smfi_addrcpt(context, rest);
  } else if (strcmp(verb, "addrcptpar") == 0) {
    bracketed(text, sizeof text, next(&rest));
    smfi_addrcpt_par(context, text, rest);
  } else if (strcmp(verb, "delrcpt") == 0) {
    bracketed(text, sizeof text, rest);
    smfi_delrcpt(context, text);
  } else if (strcmp(verb, "from") == 0) {
    bracketed(text, sizeof text, next(&rest));
    smfi_chgfrom(context, text, *rest == 0 ? NULL : rest);
  } else if (strcmp(verb, "quarantine") == 0) {
    smfi_quarantine(context, rest);
  } else if (strcmp(verb, "body") == 0) {
    size_t length = strtoul(rest, NULL, 10);
    unsigned char *body = malloc(length + 1);
    if (body == NULL) abort();
    for (size_t i = 0; i < length; i++) body[i] = i % 251;
    smfi_replacebody(context, body, length);
    free(body);
  }
  free(copy);
}

static const char *const macros[] = {
  "j", "_", "i", "v", "{daemon_name}", "{client_addr}", "{tls_version}", "{cipher}", "{auth_type}", "{auth_authen}",
  "{mail_addr}", "{mail_host}", "{mail_mailer}", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}", "{msg_id}"
};

static void show_seen(SMFICTX *context) {
  session_t *session = session_of(context);
  uint32_t values = FNV_START;
  char seen[400], text[402];
  for (size_t i = 0; i < sizeof macros / sizeof *macros; i++) {
    const char *value = smfi_getsymval(context, (char *)macros[i]);
    if (value != NULL) values = hash_string(hash_string(values, macros[i]), value);
  }
  snprintf(seen, sizeof seen,
    "connect=%08x helo=%08x mail=%08x rcpt=%u:%08x refused=%u:%08x header=%u:%08x eoh=%u body=%u:%08x macros=%08x",
    session->connect, session->helo, session->mail, session->recipients.count, session->recipients.hash,
    session->refused.count, session->refused.hash, session->fields.count, session->fields.hash, session->headers_ended,
    session->body.count, session->body.hash, values);
  spaced(text, sizeof text, session, seen);
  smfi_addheader(context, "X-Seen", text);
}

/* --- callbacks */

static sfsistat on_negotiate(SMFICTX *context, unsigned long offered_actions, unsigned long offered_steps,
                             unsigned long unused2, unsigned long unused3, unsigned long *actions,
                             unsigned long *steps, unsigned long *out2, unsigned long *out3) {
  (void)unused2;
  (void)unused3;
  *actions = is_demanding ? wanted_actions : wanted_actions & offered_actions;
  /* libmilter offers all the NR bits here, and answers in our place where the MTA does not know them. */
  session_of(context)->steps = *steps = wanted_steps & offered_steps;
  *out2 = *out3 = 0;
  if (wants_macros && (offered_actions & SMFIF_SETSYMLIST) != 0) {
    *actions |= SMFIF_SETSYMLIST;
    smfi_setsymlist(context, SMFIM_CONNECT, "j {client_addr}");
    smfi_setsymlist(context, SMFIM_ENVRCPT, "{rcpt_addr}");
    smfi_setsymlist(context, SMFIM_EOH, "i");
    smfi_setsymlist(context, SMFIM_EOM, "i {msg_id}");
  }
  return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *context, char *hostname, _SOCK_ADDR *address) {
  session_t *session = session_of(context);
  char *where = session->client, text[INET6_ADDRSTRLEN], word[WORD];
  const size_t size = sizeof session->client;
  forget_session(session);
  snprintf(where, size, "unknown");
  if (address != NULL && address->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const void *)address;
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    snprintf(where, size, "%s %u", text, ntohs(v4->sin_port));
  } else if (address != NULL && address->sa_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const void *)address;
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    snprintf(where, size, "%s %u", text, ntohs(v6->sin6_port));
  } else if (address != NULL && address->sa_family == AF_UNIX) {
    const struct sockaddr_un *path = (const void *)address;
    snprintf(where, size, "%s", path->sun_path);
  }
  session->connect = hash_string(hash_string(FNV_START, hostname), where);
  wish(word, hostname, strlen(hostname), "do-");
  return answer(context, word, "connect", ACCEPT, SMFIP_NR_CONN);
}

static sfsistat on_helo(SMFICTX *context, char *name) {
  char word[WORD];
  session_of(context)->helo = hash_string(FNV_START, name);
  wish(word, name, strlen(name), "do-");
  return answer(context, word, "helo", ACCEPT, SMFIP_NR_HELO);
}

static sfsistat on_mail(SMFICTX *context, char **words) {
  session_t *session = session_of(context);
  char word[WORD];
  size_t length = strlen(*words);
  forget_message(session);
  session->mail = hash_strings(FNV_START, words);
  wish(session->data, *words, length, "data-");
  wish(session->end_of_headers, *words, length, "eoh-");
  wish(session->end_of_message, *words, length, "eom-");
  wish(word, *words, length, "do-");
  return answer(context, word, "mail", ACCEPT | DISCARD, SMFIP_NR_MAIL);
}

static sfsistat on_rcpt(SMFICTX *context, char **words) {
  session_t *session = session_of(context);
  const char *mailer = smfi_getsymval(context, "{rcpt_mailer}");
  char word[WORD];
  sfsistat verdict;
  if ((session->steps & SMFIP_RCPT_REJ) != 0 && mailer != NULL && strcmp(mailer, "error") == 0) {
    const char *host = smfi_getsymval(context, "{rcpt_host}"), *text = smfi_getsymval(context, "{rcpt_addr}");
    session->refused.count++;
    session->refused.hash = hash_strings(session->refused.hash, words);
    session->refused.hash = hash_string(session->refused.hash, host == NULL ? "" : host);
    session->refused.hash = hash_string(session->refused.hash, text == NULL ? "" : text);
    return answer(context, "", "rcpt", 0, SMFIP_NR_RCPT);
  }
  wish(word, *words, strlen(*words), "do-");
  verdict = answer(context, word, "rcpt", ACCEPT | DISCARD, SMFIP_NR_RCPT);
  if (!refuses(verdict)) {
    session->recipients.count++;
    session->recipients.hash = hash_strings(session->recipients.hash, words);
  }
  return verdict;
}

/* Only the first DATA of a message has a wish: a client may try again. */
static sfsistat on_data(SMFICTX *context) {
  session_t *session = session_of(context);
  char word[WORD];
  memcpy(word, session->data, sizeof word);
  *session->data = 0;
  return answer(context, word, "data", ACCEPT | DISCARD, SMFIP_NR_DATA);
}

static sfsistat on_header(SMFICTX *context, char *name, char *value) {
  session_t *session = session_of(context);
  char word[WORD];
  session->fields.count++;
  session->fields.hash = hash_string(hash_string(session->fields.hash, name), value);
  if (strcasecmp(name, "X-Do") == 0 && session->edit_count < MAX_EDITS) {
    const bool spaced = (session->steps & SMFIP_HDR_LEADSPC) != 0 && *value == ' ';
    session->edits[session->edit_count++] = strdup(spaced ? value + 1 : value);
  }
  wish(word, name, strlen(name), "do-");
  return answer(context, word, "header", ACCEPT | DISCARD, SMFIP_NR_HDR);
}

static sfsistat on_end_of_headers(SMFICTX *context) {
  session_t *session = session_of(context);
  session->headers_ended++;
  return answer(context, session->end_of_headers, "end of headers", ACCEPT | DISCARD, SMFIP_NR_EOH);
}

static sfsistat on_body(SMFICTX *context, unsigned char *bytes, size_t length) {
  session_t *session = session_of(context);
  char word[WORD];
  if (session->skipped) return answer(context, "", "body", 0, SMFIP_NR_BODY);
  session->body.count += length;
  session->body.hash = hash_bytes(session->body.hash, bytes, length);
  wish(word, bytes, length, "do-");
  return answer(context, word, "body", ACCEPT | DISCARD | SKIP, SMFIP_NR_BODY);
}

static sfsistat on_end_of_message(SMFICTX *context) {
  session_t *session = session_of(context);
  const char *word = session->end_of_message;
  /* `late` makes the changes and refuses then. */
  const bool late = strncmp(word, "late", 4) == 0;
  sfsistat verdict = answer(context, late ? word + 4 : word, "end of message", ACCEPT | DISCARD, 0);
  if (late || (!refuses(verdict) && verdict != SMFIS_DISCARD)) {
    show_seen(context);
    for (unsigned i = 0; i < session->edit_count; i++) edit(context, session->edits[i]);
  }
  return verdict;
}

static sfsistat on_unknown(SMFICTX *context, const char *line) {
  char word[WORD];
  wish(word, line, strlen(line), "do-");
  return answer(context, word, "unknown", 0, SMFIP_NR_UNKN);
}

static sfsistat on_abort(SMFICTX *context) {
  forget_message(session_of(context));
  return SMFIS_CONTINUE;
}

/* Called at the end of the connection, but after QUIT_NC as well, and then the session goes on with what was negotiated:
 * so its memory stays, as long as this process. */
static sfsistat on_close(SMFICTX *context) {
  session_t *session = smfi_getpriv(context);
  if (session != NULL) forget_session(session);
  return SMFIS_CONTINUE;
}

/* Nobody may be left to end this process when the test was killed. */
static void *end_with_input(void *unused) {
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) continue;
  (void)unused;
  _exit(0);
}

int main(int count, char **arguments) {
  char address[200];
  pthread_t watcher;
  struct smfiDesc filter = {
    "reference", SMFI_VERSION, 0, on_connect, on_helo, on_mail, on_rcpt, on_header, on_end_of_headers, on_body,
    on_end_of_message, on_abort, on_close, on_unknown, on_data, on_negotiate
  };
  if (count < 4) return 64;
  wanted_steps = strtoul(arguments[2], NULL, 0);
  filter.xxfi_flags = wanted_actions = strtoul(arguments[3], NULL, 0);
  wants_macros = count > 4 && strcmp(arguments[4], "macros") == 0;
  is_demanding = count > 4 && strcmp(arguments[4], "demanding") == 0;
  if (wants_macros) filter.xxfi_flags |= SMFIF_SETSYMLIST;
  /* An MTA may be unable to leave out what nobody wants to see: libmilter says continue then. */
  if ((wanted_steps & SMFIP_NODATA) != 0) filter.xxfi_data = NULL;
  if ((wanted_steps & SMFIP_NOHDRS) != 0) filter.xxfi_header = NULL;
  if ((wanted_steps & SMFIP_NOEOH) != 0) filter.xxfi_eoh = NULL;
  if ((wanted_steps & SMFIP_NOBODY) != 0) filter.xxfi_body = NULL;
  if ((wanted_steps & SMFIP_NOUNKNOWN) != 0) filter.xxfi_unknown = NULL;
  snprintf(address, sizeof address, "unix:%s", arguments[1]);
  if (smfi_setconn(address) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS || smfi_opensocket(false) != MI_SUCCESS) {
    fprintf(stderr, "cannot listen on %s\n", arguments[1]);
    return 1;
  }
  if (pthread_create(&watcher, NULL, end_with_input, NULL) != 0) return 1;
  /* smfi_opensocket has bound the socket; a connection may wait until smfi_main accepts it. */
  puts("listening");
  fflush(stdout);
  return smfi_main() == MI_SUCCESS ? 0 : 1;
}
