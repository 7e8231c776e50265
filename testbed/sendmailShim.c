/*
 * Preloaded into Sendmail by sendmail.ts, for two things that Sendmail takes from the machine and has no option for:
 *
 * - Its log goes to syslog(3) only. Here it goes to the file EFFECT_MILTER_LOG, one line each, with the process id first.
 * - It waits a minute at start where the host name has no dot. Here the host name is EFFECT_MILTER_HOST_NAME.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static char log_path[4096];
static char host_name[65];

static void copy(char *to, size_t size, const char *variable) {
  const char *value = getenv(variable);
  if (value != NULL) snprintf(to, size, "%s", value);
}

/* Now, since Sendmail empties its environment as soon as it runs. */
__attribute__((constructor)) static void remember(void) {
  copy(log_path, sizeof log_path, "EFFECT_MILTER_LOG");
  copy(host_name, sizeof host_name, "EFFECT_MILTER_HOST_NAME");
}

static void append(const char *format, va_list values) {
  int error = errno;
  char line[16384];
  int start = snprintf(line, sizeof line, "%d ", (int) getpid());
  errno = error; /* for %m */
  int length = start + vsnprintf(line + start, sizeof line - start - 1, format, values);
  if (length > (int) sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  int file = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file >= 0) {
    /* There is nobody to tell of a failure. */
    if (write(file, line, length) != length) errno = error;
    close(file);
  }
  errno = error;
}

void openlog(const char *identity, int options, int facility) {
  (void) identity, (void) options, (void) facility;
}

void closelog(void) {}

void vsyslog(int priority, const char *format, va_list values) {
  (void) priority;
  append(format, values);
}

void syslog(int priority, const char *format, ...) {
  va_list values;
  va_start(values, format);
  vsyslog(priority, format, values);
  va_end(values);
}

/* What programs call instead that were built with _FORTIFY_SOURCE. */
void __vsyslog_chk(int priority, int flag, const char *format, va_list values) {
  (void) flag;
  vsyslog(priority, format, values);
}

void __syslog_chk(int priority, int flag, const char *format, ...) {
  (void) flag;
  va_list values;
  va_start(values, format);
  vsyslog(priority, format, values);
  va_end(values);
}

int uname(struct utsname *names) {
  long result = syscall(SYS_uname, names);
  if (result == 0) snprintf(names->nodename, sizeof names->nodename, "%s", host_name);
  return (int) result;
}

int gethostname(char *name, size_t size) {
  snprintf(name, size, "%s", host_name);
  return 0;
}

int __gethostname_chk(char *name, size_t size, size_t known) {
  (void) known;
  return gethostname(name, size);
}
