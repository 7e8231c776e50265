/** The values of flags: addresses of filters, clients, macros. */
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Path from "node:path"
import * as endpoint from "../../internal/net/endpoint.ts"
import { messageStages } from "../../internal/protocol/stageTable.ts"
import * as Macros from "../../Macros.ts"
import type * as MilterClient from "../../MilterClient.ts"
import type { ByStage } from "../../Verdict.ts"

const examples = "inet:PORT@HOST, inet6:PORT@HOST, inet:HOST:PORT or unix:/path"

/** What a SPEC is, for the help. */
export const specHelp = `SPEC
  The address of a filter: ${examples}; without a host it is this one.
  To listen, also systemd, systemd:NAME or fd:NUMBER: sockets that the process was started with.`

/** A path as short as it can be: the parser makes it absolute. */
const shown = (path: string): string => {
  const relative = Path.relative(process.cwd(), path)
  return relative === "" ? "." : relative.startsWith("..") ? path : relative
}

/** An argument for the path of a file or a directory, which shells complete. */
export const pathArgument = (name: string): Argument.Argument<string> => Argument.Path(name).pipe(Argument.map(shown))

/** A flag for the path of a file or a directory, which shells complete. */
export const pathFlag = (name: string): Flag.Flag<string> =>
  Flag.Path(name).pipe(Flag.map(shown), Flag.withMetavar("FILE"))

/** A flag for the address of a filter. */
export const filterAddress = (name: string): Flag.Flag<string> =>
  Flag.String(name).pipe(
    Flag.filter((spec) => Result.isSuccess(endpoint.parse(spec)), () => examples),
    Flag.withMetavar("SPEC")
  )

/** An argument that is the address of a filter. */
export const filterArgument = (name: string): Argument.Argument<string> =>
  Argument.String(name).pipe(Argument.filter((spec) => Result.isSuccess(endpoint.parse(spec)), () => examples))

/** A flag for a whole number from 1 to `most`. */
export const positive = (name: string, most: number): Flag.Flag<number> =>
  Flag.String(name).pipe(
    Flag.filterMap(
      (text) => /^[0-9]{1,10}$/.test(text) ? Option.some(Number(text)) : Option.none(),
      () => "a whole number"
    ),
    Flag.filter((number) => number >= 1 && number <= most, () => `a number from 1 to ${most}`),
    Flag.withMetavar("NUMBER")
  )

/** As much as fits into the memory of a small machine several times. */
const mostBytes = 100 * 1024 * 1024
const units: { readonly [unit: string]: number } = { "": 1, k: 1024, M: 1024 * 1024 }

/** Bytes: `500`, `100k` or `10M`. */
export const parseSize = (text: string): Option.Option<number> => {
  const [, digits, unit = ""] = /^([0-9]{1,9})([kM]?)$/.exec(text) ?? []
  const size = Number(digits) * (units[unit] ?? 1)
  return digits !== undefined && size <= mostBytes ? Option.some(size) : Option.none()
}

/** A flag for a number of bytes. */
export const size = (name: string): Flag.Flag<number> =>
  Flag.String(name).pipe(
    Flag.filterMap(parseSize, () => "a number of bytes up to 100M, such as 500, 100k or 10M"),
    Flag.withMetavar("BYTES")
  )

/** A flag for addresses to listen on, given once or several times. */
export const listenAddress = (name: string): Flag.Flag<string> =>
  Flag.String(name).pipe(
    Flag.filter(
      (spec) => Result.isSuccess(endpoint.parseListening(spec)),
      () => `${examples.replace(" or", ",")}, fd:NUMBER, systemd or systemd:NAME`
    ),
    Flag.withMetavar("SPEC")
  )

const milliseconds: { readonly [unit: string]: number } = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000
}

/** `8`, `8s`, `1.5 minutes`: a bare number is seconds, as in Postfix. */
export const parseDuration = (text: string): Option.Option<Duration.Duration> => {
  const [, amount, unit = "s"] = /^(\d{1,9}(?:\.\d{1,3})?) *(ms|s|m|min|h|d|[a-z]{4,12})?$/.exec(text) ?? []
  if (amount === undefined) return Option.none()
  if (Object.hasOwn(milliseconds, unit)) return Option.some(Duration.millis(Number(amount) * milliseconds[unit]!))
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it is checked there
  return Duration.fromInput(`${amount} ${unit.replace(/s?$/, "s")}` as Duration.Input)
}

/** What {@link parseDuration} reads, in words. */
export const durations = "a time: 8, 8s, 500ms, 5m or 2 hours"

/** How long to wait for answers of a filter. */
export const timeout: Flag.Flag<Option.Option<Duration.Duration>> = Flag.String("timeout").pipe(
  Flag.filterMap(parseDuration, () => durations),
  Flag.withMetavar("DURATION"),
  Flag.withDescription(
    "How long to wait for the connection and for each answer; a bare number is seconds. As the MTA if not given"
  ),
  Flag.optional
)

/** The file mode of UNIX sockets, as for chmod. */
export const mode: Flag.Flag<number> = Flag.String("mode").pipe(
  Flag.withDefault("660"),
  Flag.filterMap(
    (text) => /^0?[0-7]{3}$/.test(text) ? Option.some(Number.parseInt(text, 8)) : Option.none(),
    () => "three octal digits, such as 660"
  ),
  Flag.withMetavar("MODE"),
  Flag.withDescription("The mode of UNIX sockets; the MTA has to be able to write")
)

const isAddress = (text: string): boolean => /^[0-9.]+$/.test(text) || text.includes(":") || text.startsWith("/")

/** `client.example.org[192.0.2.1]:2525` as in Postfix's log, `[192.0.2.1]`, or one of the parts. */
export const parseClient = (text: string): Option.Option<Partial<MilterClient.Connect>> => {
  const [, hostname, address, port] = /^([^[\]\s]*)\[([^[\]\s]+)\](?::(\d{1,5}))?$/.exec(text) ?? []
  if (hostname !== undefined && address !== undefined) {
    return Option.some({
      ...(hostname === "" ? {} : { hostname }),
      address,
      ...(port === undefined ? {} : { port: Number(port) })
    })
  }
  if (text === "" || /[[\]\s]/.test(text)) return Option.none()
  return Option.some(isAddress(text) ? { address: text } : { hostname: text })
}

export const client: Flag.Flag<Option.Option<Partial<MilterClient.Connect>>> = Flag.String("client").pipe(
  Flag.filterMap(parseClient, () => "NAME[ADDRESS], [ADDRESS], NAME[ADDRESS]:PORT, a name or an address"),
  Flag.withMetavar("NAME[ADDRESS]"),
  Flag.withDescription("The SMTP client; client.example.org[192.0.2.1] if not given"),
  Flag.optional
)

// The stage at which an MTA first has a value for a macro. Macros of connect hold to the end, so connect suits all others.
const stageOf: { readonly [name: string]: keyof ByStage } = {
  tls_version: "helo",
  cipher: "helo",
  cipher_bits: "helo",
  cert_subject: "helo",
  cert_issuer: "helo",
  auth_type: "mail",
  auth_authen: "mail",
  auth_author: "mail",
  auth_ssf: "mail",
  mail_addr: "mail",
  mail_host: "mail",
  mail_mailer: "mail",
  rcpt_addr: "rcpt",
  rcpt_host: "rcpt",
  rcpt_mailer: "rcpt",
  msg_id: "endOfMessage"
}

/** `NAME=VALUE`, with or without braces. */
export const parseMacro = (text: string): Option.Option<readonly [name: string, value: string]> => {
  const [, name, value] = /^\{?([^{}=\s]+)\}?=([^]*)$/.exec(text) ?? []
  return name === undefined || value === undefined ? Option.none() : Option.some([name, value])
}

export const macro: Flag.Flag<ReadonlyArray<readonly [name: string, value: string]>> = Flag.String("macro").pipe(
  Flag.filterMap(parseMacro, () => "NAME=VALUE, such as auth_authen=alice"),
  Flag.withMetavar("NAME=VALUE"),
  Flag.withDescription("A macro, sent at the stage at which an MTA has it; can be repeated"),
  Flag.atLeast(0)
)

const stagesOf = (name: string): ReadonlyArray<keyof ByStage> =>
  // The MTA repeats its queue id, so a given one must be sent at each stage of the message.
  name === "i" ? messageStages : [Object.hasOwn(stageOf, name) ? stageOf[name]! : "connect"]

/** Sorts macros by stage. */
export const macrosByStage = (
  macros: ReadonlyArray<readonly [name: string, value: string]>
): NonNullable<MilterClient.Message["macros"]> => {
  const found: { -readonly [K in keyof ByStage]?: { [name: string]: string } } = {}
  for (const [name, value] of macros) {
    for (const stage of stagesOf(name)) found[stage] = { ...found[stage], [Macros.render(name)]: value }
  }
  return found
}
