/** What MTAs send at each stage when no filter asks for anything and nobody has configured them otherwise. */
import type { MacroStage } from "../../Macros.ts"

// Of Postfix 3.7 and Sendmail 8.17 together: who does not know a name passes over it.
export const macroDefaults: { readonly [K in MacroStage]: ReadonlyArray<string> } = {
  connect: ["j", "_", "v", "daemon_name", "daemon_addr", "if_name", "if_addr"],
  helo: ["tls_version", "cipher", "cipher_bits", "cert_subject", "cert_issuer"],
  mail: ["i", "auth_type", "auth_authen", "auth_ssf", "auth_author", "mail_mailer", "mail_host", "mail_addr"],
  rcpt: ["i", "rcpt_mailer", "rcpt_host", "rcpt_addr"],
  data: ["i"],
  endOfHeaders: ["i"],
  endOfMessage: ["i", "msg_id"]
}
