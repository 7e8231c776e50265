#!/bin/sh
# Configures a Postfix to try filters against, and becomes it. The image runs `entrypoint.sh postfix start-fg`.
#
#   MILTERS                where the filter listens, in Postfix's spelling: inet:filter:9000; several with commas between
#   MILTER_DEFAULT_ACTION  what happens while it does not (tempfail)
#   DOMAIN                 whose mail is taken; all of it, whoever it is for (test.example)
#   INBOX                  the directory in which the file `inbox` gets each message (/srv/mail)
#   MAIL_CONFIG            where the configuration is (/etc/postfix)
set -eu

if [ -z "${MILTERS:-}" ]; then
  echo "entrypoint.sh: MILTERS is not set: where does the filter listen? inet:filter:9000, for example" >&2
  exit 1
fi
domain=${DOMAIN:-test.example}
owner=$(id -u nobody)

# Debian's package leaves none behind where nobody answers its questions.
touch "${MAIL_CONFIG:-/etc/postfix}/main.cf"

postconf -e \
  "compatibility_level = 3.6" \
  "maillog_file = /dev/stdout" \
  "myhostname = mx.$domain" \
  "mydestination =" \
  "alias_maps =" \
  "mynetworks = 127.0.0.0/8 [::1]/128" \
  "smtpd_milters = $MILTERS" \
  "non_smtpd_milters = $MILTERS" \
  "milter_default_action = ${MILTER_DEFAULT_ACTION:-tempfail}" \
  "smtpd_peername_lookup = no" \
  "virtual_mailbox_domains = $domain" \
  "virtual_mailbox_base = ${INBOX:-/srv/mail}" \
  "virtual_mailbox_maps = static:inbox" \
  "virtual_uid_maps = static:$owner" \
  "virtual_gid_maps = static:$(id -g nobody)" \
  "default_transport = error:no mail leaves this container"

# Debian runs most of its processes in a chroot, where the names of other containers are not known.
postconf -F '*/*/chroot = n'

exec "$@"
