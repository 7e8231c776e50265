/** What a redacted recording may show: words of the protocol and of the MTA, never one that a person or a filter chose. */
import type { ByteString } from "../bytes/byteString.ts"
import { ofParts } from "../bytes/byteString.ts"

export const mask = (text: ByteString): ByteString => ofParts(text.replace(/[^ \t\r\n]/g, "x"))

/** Letters and numbers of stages. */
export const stage = /^[CHMRTNELBUDAQSKVOFJ]$/

/** ESMTP parameters whose values tell nothing. */
export const parameter =
  /^(?:SIZE=\d{1,20}|BODY=(?:7BIT|8BITMIME|BINARYMIME)|SMTPUTF8|REQUIRETLS|RET=(?:FULL|HDRS)|AUTH=<>|NOTIFY=(?:NEVER|SUCCESS|FAILURE|DELAY|,){1,7}|BY=-?\d{1,10};[NR]T?|MT-PRIORITY=-?\d|HOLD(?:FOR|UNTIL)=[\dTZ:-]{1,20})$/i

const number = /^-?\d{1,20}$/
const queueId = /^[0-9A-Za-z]{6,20}$/
const mailer = /^(?:e?smtp8?|dsmtp|relay|lmtp|local|virtual|prog|error|discard|\*file\*|\*include\*)$/

/** How the values of macros are hidden, by name without braces: a kind, or the pattern of values that are harmless. */
export const macros: ReadonlyMap<string, "client" | "host" | "ip" | "login" | "mailbox" | RegExp> = new Map(
  Object.entries(
    {
      _: "client",
      j: "host",
      s: "host",
      f: "mailbox",
      i: queueId,
      v: /^(?:Postfix )?\d{1,3}(?:\.\d{1,8}){0,3}(?:\/\d{1,3}(?:\.\d{1,8}){0,3})?(?:[/-](?:Debian-\d{1,3}|RC\d{1,3}|\d{8}))?$/,
      b: /^[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}(?: \([A-Z]{1,5}\))?$/,
      t: number,
      r: /^(?:UTF8)?(?:E?SMTP|LMTP)S?A?$/,
      auth_authen: "login",
      auth_author: "login",
      auth_ssf: number,
      auth_type:
        /^(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|SCRAM-SHA-(?:1|256|512)(?:-PLUS)?|GSSAPI|EXTERNAL|NTLM|OAUTHBEARER|XOAUTH2|ANONYMOUS)$/,
      cipher:
        /^(?:(?:TLS|ECDHE|DHE|AECDH|ADH|RSA|ECDSA|AES(?:128|256)?|CHACHA20|POLY1305|CAMELLIA(?:128|256)?|GCM|CCM8?|CBC|SHA(?:1|256|384)?|128|256|WITH|NULL|ANON)(?:[-_](?!$)|$))+$/,
      cipher_bits: number,
      tls_version: /^(?:SSLv[23]|TLSv1(?:\.[1-3])?)$/,
      verify: /^(?:OK|NO|NOT|FAIL|NONE|SOFTWARE|PROTOCOL|TEMP|TRUSTED|CLEAR|CONFIG|DANE_[A-Z]{1,8})$/,
      client_addr: "ip",
      client_name: "host",
      client_ptr: "host",
      client_port: number,
      client_connections: number,
      client_rate: number,
      client_resolve: /^(?:OK|FAIL|FORGED|TEMP)$/,
      daemon_addr: "ip",
      daemon_name: "host",
      daemon_port: number,
      if_addr: "ip",
      if_name: "host",
      if_family: /^(?:inet6?|local)$/,
      mail_addr: "mailbox",
      mail_host: "host",
      mail_mailer: mailer,
      rcpt_addr: "mailbox",
      rcpt_host: "host",
      rcpt_mailer: mailer,
      msg_id: /^$/,
      msg_size: number,
      nbadrcpts: number,
      nrcpts: number,
      ntries: number,
      rcpt_count: number,
      cert_subject: /^$/,
      cert_issuer: /^$/,
      cn_subject: /^$/,
      cn_issuer: /^$/,
      cert_md5: /^$/,
      hdr_name: /^$/,
      addr_type: /^(?:e [sr]|h [sr]|d [sr]|[ehd])$/
    } as const
  )
)

export const macroName = (name: ByteString): ByteString => {
  const isBraced = name.startsWith("{") && name.endsWith("}")
  const bare = isBraced ? name.slice(1, -1) : name
  if (macros.has(bare)) return name
  return isBraced ? ofParts(`{${mask(ofParts(bare))}}`) : mask(name)
}

/** Keeps the command of an unknown line, if SMTP has it, and hides its arguments. */
export const command = (line: ByteString): ByteString => {
  const verb =
    /^(?:AUTH|BDAT|BURL|DATA|EHLO|ETRN|EXPN|HELO|HELP|LHLO|MAIL|NOOP|QUIT|RCPT|RSET|STARTTLS|TURN|VRFY|XCLIENT|XFORWARD)(?![^ \r\n])/i
      .exec(line)?.[0] ?? ""
  return ofParts(verb + mask(ofParts(line.slice(verb.length))))
}

/** Keeps the codes of a reply's lines, and hides the text. */
export const reply = (text: ByteString): ByteString =>
  ofParts(
    text.split("\n").map((line) => {
      const codes = /^[245]\d\d(?:[ -]|(?=\r?$))(?:[245]\.\d{1,3}\.\d{1,3}(?= |\r?$))?/.exec(line)?.[0] ?? ""
      return codes + mask(ofParts(line.slice(codes.length)))
    }).join("\n")
  )

const trace = "effect-milter trace"

export const description = (text: string): string =>
  text.startsWith(trace) ? trace + mask(ofParts(text.slice(trace.length))) : mask(ofParts(text))

/** Keeps the system's names of errors, and hides other words. */
export const error = (text: string): string =>
  text.split(" ").map((word) =>
    /^(?:ECONNREFUSED|ECONNRESET|ENOENT|EACCES|ETIMEDOUT|EPIPE|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN)$/.test(
        word
      )
      ? word
      : mask(ofParts(word))
  ).join(" ")

/** Header fields that are so common that their names tell nothing. */
export const fields: ReadonlySet<string> = new Set(
  [
    "arc-authentication-results arc-message-signature arc-seal authentication-results auto-submitted bcc",
    "cc content-description content-disposition content-id content-language content-transfer-encoding",
    "content-type date delivered-to dkim-signature from importance in-reply-to list-archive list-help",
    "list-id list-owner list-post list-subscribe list-unsubscribe list-unsubscribe-post message-id",
    "mime-version precedence priority received received-spf references reply-to resent-cc resent-date",
    "resent-from resent-message-id resent-sender resent-to return-path sender subject to user-agent",
    "x-mailer x-priority x-spam-flag x-spam-level x-spam-score x-spam-status"
  ].flatMap((names) => names.split(" "))
)
