/** The base class of macros, with a property for each fact that filters need. Re-exported by `Macros`. */
import { type ByteString, toText } from "../bytes/byteString.ts"
import * as Ip from "../mail/ipAddress.ts"
import * as xtext from "../mail/xtext.ts"

/**
 * The MTA that sent the macros, if they show it.
 *
 * @category models
 * @since 0.1.0
 */
export type Mta = "postfix" | "sendmail" | "unknown"

/**
 * The listener of the MTA that the client reached.
 *
 * @category models
 * @since 0.1.0
 */
export interface Daemon {
  /** `{daemon_name}`: Sendmail's name for the listener (`MTA`, `MSA`), Postfix's own host name by default. */
  readonly name: string | undefined
  /**
   * The address that the client connected to, in the form of `ClientAddress`: Postfix's `{daemon_addr}`, Sendmail's
   * `{if_addr}`. Sendmail leaves that out for loopback addresses; then the value is its `{daemon_addr}`, the configured
   * address of the listener, which may be `0.0.0.0`.
   */
  readonly address: string | undefined
  /** `{daemon_port}`; only on request. */
  readonly port: number | undefined
}

/**
 * The SMTP client as the MTA's macros show it. MTAs send these macros on request only, except for `resolve`, of which Sendmail
 * shows a part in `_`. The address is also in `session.client`, the verified name in `session.hostname`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Client {
  /** `{client_addr}`, in the form of `ClientAddress` whichever way the MTA spells it. */
  readonly address: string | undefined
  /** `{client_port}` */
  readonly port: number | undefined
  /** `{client_name}`: the name that the address resolves to and that resolves to the address. */
  readonly name: string | undefined
  /** `{client_ptr}`: the name that the address resolves to, unverified: the owner of an address can claim any name. */
  readonly ptr: string | undefined
  /** `{client_resolve}`: the result of the lookups; `FORGED` also where Sendmail writes `(may be forged)` into `_`. */
  readonly resolve: "OK" | "FAIL" | "FORGED" | "TEMP" | undefined
  /** `{client_connections}`: how many connections this client has open. */
  readonly connections: number | undefined
}

/**
 * The TLS session between the client and the MTA.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tls {
  /** `{tls_version}`, such as `TLSv1.3` */
  readonly version: string | undefined
  /** `{cipher}`, such as `TLS_AES_256_GCM_SHA384` */
  readonly cipher: string | undefined
  /** `{cipher_bits}`: the length of the key. */
  readonly bits: number | undefined
  /**
   * `{cert_subject}` of the client's certificate: Sendmail gives the distinguished name (`/O=Example/CN=client`), verified
   * or not, Postfix the common name, and only of a certificate that it trusts.
   */
  readonly subject: string | undefined
  /** `{cert_issuer}`: who issued it, in the same form. */
  readonly issuer: string | undefined
  /**
   * True if the client showed a certificate that the MTA trusts. Sendmail sends this on request (`{verify}`); without a request
   * it is false.
   */
  readonly verified: boolean
  /** `{tls_sni}`: the name of the host that the client asked for. Postfix 3.12, on request. */
  readonly serverName: string | undefined
}

/**
 * A client that has authenticated itself (SMTP AUTH).
 *
 * @category models
 * @since 0.1.0
 */
export interface Authentication {
  /**
   * `{auth_authen}`: the login name as the client gave it. Sendmail escapes some characters of it (xtext), Postfix none;
   * this is the name without escapes.
   */
  readonly login: string | undefined
  /** `{auth_type}`: the SASL mechanism, such as `PLAIN`. */
  readonly type: string | undefined
  /** `{auth_ssf}`: the strength of the mechanism's own encryption in bits, usually 0. Sendmail only. */
  readonly ssf: number | undefined
  /**
   * `{auth_author}`: the AUTH parameter of MAIL: the original submitter of the message. Any client can write it. Without escapes;
   * `undefined` for `<>`.
   */
  readonly author: string | undefined
}

/**
 * Where the MTA would send mail for an address: its own reading of what MAIL or RCPT said.
 *
 * @category models
 * @since 0.1.0
 */
export interface Destination {
  /** `{mail_addr}`, `{rcpt_addr}`: the address without brackets; empty for the null sender. */
  readonly address: string | undefined
  /** `{mail_host}`, `{rcpt_host}`: the next host. */
  readonly host: string | undefined
  /** `{mail_mailer}`, `{rcpt_mailer}`: Sendmail's mailer, Postfix's transport; `error` for a recipient it has refused. */
  readonly mailer: string | undefined
}

/**
 * The macros that a hook can look up: those of the current stage, and those of earlier stages that are still valid.
 *
 * **Details**
 *
 * The properties hide the differences of the MTAs. {@link Macros.get} reads any macro. Names are case-sensitive, with or
 * without braces: `i` and `{i}` are the same, as are `auth_type` and `{auth_type}`.
 *
 * **Gotchas**
 *
 * - Everything may be `undefined`: some macros come at a later stage only, some only if the filter requests them in its option
 *   `macros`. Postfix has no queue id at MAIL, nor at the first RCPT.
 * - Macros are as trustworthy as the peer that connects to the filter: who connects can claim any login. Restrict the peers
 *   before a filter exempts authenticated users.
 * - Macros change as the session goes on: read a macro while the hook runs, not in a fiber that outlives it. The value of a
 *   property is a copy.
 *
 * **Example** (Submitted by our own users)
 *
 * ```ts
 * import type { Session } from "effect-milter/Stage"
 *
 * const user = ({ macros }: Session) => macros.tls === undefined ? undefined : macros.authentication?.login
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export abstract class Macros {
  /** The value as bytes; `undefined` if the MTA has not defined it. */
  abstract raw(name: string): ByteString | undefined

  /** All macros that are visible, those of the earliest stage first, names without braces. */
  abstract entries(): ReadonlyArray<readonly [name: string, value: string]>

  /**
   * The value as text (U+FFFD where it is not UTF-8); `undefined` if the MTA has not defined it, `""` if it is empty.
   */
  get(name: string): string | undefined {
    const value = this.raw(name)
    return value === undefined ? undefined : toText(value)
  }

  /**
   * The MTA that sent the macros. It is known at connect, unless the filter requests other macros than `v` there, or later from
   * the form of its queue ids.
   */
  get mta(): Mta {
    return mtaOf(this)
  }

  /** The version of the MTA in `v`, such as `3.7.11`. Sendmail sends it on request. */
  get mtaVersion(): string | undefined {
    return /\d+\.\d\S*/.exec(this.get("v") ?? "")?.[0]
  }

  /** `j`: the MTA's own host name. */
  get mtaName(): string | undefined {
    return text(this, "j")
  }

  /**
   * `i`: the name of the message in the MTA's log. Sendmail has it from MAIL on, Postfix from the first accepted recipient on:
   * usually it is missing at the first RCPT.
   */
  get queueId(): string | undefined {
    return text(this, "i")
  }

  /** `{msg_id}`: the Message-ID with its brackets, at end of message. Sendmail only. */
  get messageId(): string | undefined {
    return text(this, "msg_id")
  }

  /** The listener that the client reached. */
  get daemon(): Daemon {
    return {
      name: text(this, "daemon_name"),
      address: address(this, "if_addr") ?? address(this, "daemon_addr"),
      port: number(this, "daemon_port")
    }
  }

  /** The SMTP client. */
  get client(): Client {
    return {
      address: address(this, "client_addr"),
      port: number(this, "client_port"),
      name: name(this, "client_name"),
      ptr: name(this, "client_ptr"),
      resolve: resolve(this),
      connections: number(this, "client_connections")
    }
  }

  /** The TLS session; `undefined` without one. Known from the HELO that follows STARTTLS. */
  get tls(): Tls | undefined {
    const version = text(this, "tls_version")
    const cipher = text(this, "cipher")
    return version === undefined && cipher === undefined ? undefined : {
      version,
      cipher,
      bits: number(this, "cipher_bits"),
      subject: escaped(this, "cert_subject"),
      issuer: escaped(this, "cert_issuer"),
      verified: isVerified(this),
      serverName: text(this, "tls_sni")
    }
  }

  /** The login of the client; `undefined` if it has not authenticated itself. Known from MAIL on. */
  get authentication(): Authentication | undefined {
    const login = escaped(this, "auth_authen")
    const type = text(this, "auth_type")
    return login === undefined && type === undefined
      ? undefined
      : { login, type, ssf: number(this, "auth_ssf"), author: author(this) }
  }

  /** The MTA's reading of the sender. */
  get mail(): Destination {
    return { address: this.get("mail_addr"), host: text(this, "mail_host"), mailer: text(this, "mail_mailer") }
  }

  /** The MTA's reading of the latest recipient. */
  get rcpt(): Destination {
    return { address: this.get("rcpt_addr"), host: text(this, "rcpt_host"), mailer: text(this, "rcpt_mailer") }
  }
}

/** An empty value counts as missing: Sendmail clears the macros of a finished session by making them empty. */
const text = (macros: Macros, name: string): string | undefined => macros.get(name) || undefined

const number = (macros: Macros, name: string): number | undefined => {
  const value = macros.raw(name)
  return value !== undefined && /^\d{1,10}$/.test(value) ? Number(value) : undefined
}

/** Postfix says `unknown`, Sendmail the address in brackets where there is no name. */
const name = (macros: Macros, name: string): string | undefined => {
  const value = text(macros, name)
  return value === "unknown" || value?.[0] === "[" ? undefined : value
}

const address = (macros: Macros, name: string): string | undefined => {
  const value = text(macros, name)
  if (value === undefined) return undefined
  const ip = Ip.parse(value.replace(/^\[(.*)\]$/, "$1").replace(/^IPv6:/i, ""))
  return ip === undefined ? value : Ip.format(ip)
}

const resolve = (macros: Macros): Client["resolve"] => {
  switch (macros.raw("client_resolve")) {
    case "OK":
      return "OK"
    case "FAIL":
      return "FAIL"
    case "FORGED":
      return "FORGED"
    case "TEMP":
      return "TEMP"
    default:
      return macros.raw("_")?.endsWith(" (may be forged)") === true ? "FORGED" : undefined
  }
}

/** Sendmail writes names that come from outside as xtext, with `(`, `)`, `<`, `>`, `"`, `+`, `\` and spaces escaped. */
const escaped = (macros: Macros, name: string): string | undefined => {
  const value = macros.raw(name)
  if (value === undefined || value === "") return undefined
  return toText(value.includes("+") && macros.mta === "sendmail" ? xtext.decode(value) ?? value : value)
}

/** Both MTAs pass on the text that the client wrote after `AUTH=`, which should be xtext. Postfix leaves `<>` out. */
const author = (macros: Macros): string | undefined => {
  const value = macros.raw("auth_author")
  if (value === undefined || value === "" || value === "<>") return undefined
  return toText(xtext.decode(value) ?? value)
}

/** Postfix defines the subject, which may be empty, only of a certificate that it trusts. */
const isVerified = (macros: Macros): boolean => {
  const verify = macros.raw("verify")
  return verify === undefined
    ? macros.mta === "postfix" && macros.raw("cert_subject") !== undefined
    : verify === "OK" || verify === "TRUSTED"
}

/** Macros that Postfix does not have, and Sendmail sends without a request at connect, at MAIL and at end of message. */
const onlySendmail = ["if_name", "if_addr", "auth_ssf", "msg_id"]

const mtaOf = (macros: Macros): Mta => {
  const version = macros.raw("v")
  if (version !== undefined) {
    if (version.startsWith("Postfix")) return "postfix"
    if (/^8\.\d+\.\d/.test(version)) return "sendmail"
  }
  for (const name of onlySendmail) {
    if (macros.raw(name) !== undefined) return "sendmail"
  }
  return ownerOf(macros.raw("i") ?? "")
}

// Year, month, day, hour, minute, second and a serial number, all in base 60, and the process: 6AM8RJVH018531.
const sendmailQueueId = /^[0-9A-Za-x][0-9AB][0-9A-U][0-9A-N][0-9A-Za-x]{4}\d{6,}$/
// Short ones are microseconds and inode in hexadecimal; long ones are in base 52 (no vowels), a z between time and inode.
const postfixQueueId =
  /^(?:[0-9A-F]{6,20}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,12}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]{1,16})$/

const ownerOf = (queueId: string): Mta => {
  const postfix = postfixQueueId.test(queueId)
  const sendmail = sendmailQueueId.test(queueId)
  return postfix === sendmail ? "unknown" : postfix ? "postfix" : "sendmail"
}

/**
 * Removes the braces of a name: this package stores and compares names without them. Postfix 3.1 puts even single letters into
 * braces.
 *
 * @category names
 * @since 0.1.0
 */
export const normalize = (name: string): string =>
  name.length > 2 && name[0] === "{" && name[name.length - 1] === "}" ? name.slice(1, -1) : name
