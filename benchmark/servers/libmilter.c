/* The filter of the comparison on libmilter in C: a hook at every stage, the last one adds a header. */
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <libmilter/mfapi.h>

struct message {
  size_t length;
};

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *address) {
  return SMFIS_CONTINUE;
}

static sfsistat on_helo(SMFICTX *ctx, char *name) {
  return SMFIS_CONTINUE;
}

static void forget(SMFICTX *ctx) {
  free(smfi_getpriv(ctx));
  smfi_setpriv(ctx, NULL);
}

static sfsistat on_mail(SMFICTX *ctx, char **arguments) {
  struct message *message;
  const char *domain = strrchr(arguments[0], '@');
  forget(ctx);
  message = calloc(1, sizeof *message);
  if (message == NULL || smfi_setpriv(ctx, message) != MI_SUCCESS) return SMFIS_TEMPFAIL;
  return domain != NULL && strcmp(domain, "@spam.example>") == 0 ? SMFIS_REJECT : SMFIS_CONTINUE;
}

static sfsistat on_rcpt(SMFICTX *ctx, char **arguments) {
  return SMFIS_CONTINUE;
}

static sfsistat on_data(SMFICTX *ctx) {
  return SMFIS_CONTINUE;
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value) {
  struct message *message = smfi_getpriv(ctx);
  message->length += strlen(value);
  return SMFIS_CONTINUE;
}

static sfsistat on_end_of_headers(SMFICTX *ctx) {
  return SMFIS_CONTINUE;
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *bytes, size_t length) {
  struct message *message = smfi_getpriv(ctx);
  message->length += length;
  return SMFIS_CONTINUE;
}

static sfsistat on_end_of_message(SMFICTX *ctx) {
  int added = smfi_addheader(ctx, "X-Benchmark", "yes");
  forget(ctx);
  return added == MI_SUCCESS ? SMFIS_CONTINUE : SMFIS_TEMPFAIL;
}

static sfsistat on_abort(SMFICTX *ctx) {
  forget(ctx);
  return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *ctx) {
  forget(ctx);
  return SMFIS_CONTINUE;
}

int main(int argc, char **argv) {
  struct smfiDesc filter = {
    .xxfi_name = "benchmark",
    .xxfi_version = SMFI_VERSION,
    .xxfi_flags = SMFIF_ADDHDRS,
    .xxfi_connect = on_connect,
    .xxfi_helo = on_helo,
    .xxfi_envfrom = on_mail,
    .xxfi_envrcpt = on_rcpt,
    .xxfi_data = on_data,
    .xxfi_header = on_header,
    .xxfi_eoh = on_end_of_headers,
    .xxfi_body = on_body,
    .xxfi_eom = on_end_of_message,
    .xxfi_abort = on_abort,
    .xxfi_close = on_close
  };
  if (argc != 2 || smfi_setconn(argv[1]) != MI_SUCCESS) return 2;
  if (smfi_setbacklog(4096) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS) return 2;
  return smfi_main() == MI_SUCCESS ? 0 : 1;
}
