/** The lines for an MTA's configuration that make it ask a filter. Pure. */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as endpoint from "../../internal/net/endpoint.ts"
import type { Options } from "../../MilterServer.ts"

/** An MTA cannot connect to a wildcard address. */
const reachable = (address: string): endpoint.Endpoint | undefined => {
  const parsed = endpoint.parse(address)
  if (Result.isFailure(parsed)) return undefined
  const where = parsed.success
  if (where._tag === "Unix") return where
  return where.host === "0.0.0.0"
    ? { ...where, host: "127.0.0.1" }
    : where.host === "::"
    ? { ...where, host: "::1" }
    : where
}

/** An address as Postfix writes it: `inet:HOST:PORT`. Below the queue directory, the path is that in smtpd's chroot. */
const forPostfix = (queueDirectory: string) => (where: endpoint.Endpoint): string =>
  where._tag === "Unix"
    ? `unix:${isBelow(queueDirectory, where) ? where.path.slice(queueDirectory.length) : where.path}`
    : `inet:${where.host.includes(":") ? `[${where.host}]` : where.host}:${where.port}`

const isBelow = (directory: string, where: endpoint.Endpoint): boolean =>
  where._tag === "Unix" && where.path.startsWith(`${directory}/`)

const chrootNote = (queueDirectory: string, where: endpoint.Endpoint): ReadonlyArray<string> =>
  where._tag !== "Unix"
    ? []
    : isBelow(queueDirectory, where)
    ? [`  (the path as smtpd sees it in its chroot, Debian's default; without a chroot: unix:${where.path})`]
    : [`  (an smtpd in a chroot, Debian's default, does not see this path: put the socket below ${queueDirectory})`]

/** An address as Sendmail writes it: `inet:PORT@HOST`, IPv6 addresses without brackets. */
const forSendmail = (where: endpoint.Endpoint): string =>
  where._tag === "Unix"
    ? `unix:${where.path}`
    : where.host.includes(":")
    ? `inet6:${where.port}@${where.host}`
    : `inet:${where.port}@${where.host}`

const secondsOf = (duration: Duration.Input | undefined, otherwise: number): number =>
  duration === undefined ? otherwise : Math.ceil(Duration.toMillis(duration) / 1000)

// The MTA must wait longer than the filter may take.
const margin = 10

/**
 * The lines for `main.cf` and `sendmail.mc`, with the first of several addresses: an MTA would ask at each of them.
 * `queueDirectory` is that of the host's Postfix, see `postconf`.
 */
export const mtaLines = (
  name: string,
  addresses: ReadonlyArray<string>,
  options: Options,
  queueDirectory: string
): string => {
  const [where, ...others] = addresses.flatMap((address) => reachable(address) ?? [])
  if (where === undefined) return ""
  const command = Math.max(30, secondsOf(options.commandTimeout, 8) + margin)
  const content = Math.max(300, secondsOf(options.endOfMessageTimeout, 240) + margin)
  const alternatives = (format: (where: endpoint.Endpoint) => string): ReadonlyArray<string> =>
    others.length === 0 ? [] : [`  (or ${others.map(format).join(", or ")}, not both)`]
  return [
    "Postfix, in main.cf:",
    `  smtpd_milters = ${forPostfix(queueDirectory)(where)}`,
    ...alternatives(forPostfix(queueDirectory)),
    "  non_smtpd_milters = $smtpd_milters",
    "  milter_default_action = tempfail",
    "  milter_connect_timeout = 30s",
    `  milter_command_timeout = ${command}s`,
    `  milter_content_timeout = ${content}s`,
    ...chrootNote(queueDirectory, where),
    "Sendmail, in sendmail.mc:",
    `  INPUT_MAIL_FILTER(\`${identifier(name)}', \`S=${
      forSendmail(where)
    }, F=T, T=C:30s;S:${command}s;R:${command}s;E:${content}s')`,
    ...alternatives(forSendmail)
  ].map((line) => `${line}\n`).join("")
}

/** m4 and Sendmail take letters, digits and a few others. */
const identifier = (name: string): string => name.replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^-+|-+$/g, "") || "filter"
