/** Addresses of milters, in the spellings of Sendmail and Postfix. */
import * as Result from "effect/Result"
import { InvalidValue } from "../../InvalidValue.ts"

export type Endpoint =
  | { readonly _tag: "Tcp"; readonly host: string; readonly port: number }
  | { readonly _tag: "Unix"; readonly path: string }

/** What a server listens on: an address, or a socket that the process was started with. */
export type Listening =
  | Endpoint
  | { readonly _tag: "Descriptor"; readonly descriptor: number }
  /** The sockets that systemd passed, or those of one name. */
  | { readonly _tag: "Systemd"; readonly name: string | undefined }

const loopback = { inet: "127.0.0.1", inet6: "::1" } as const

const expected = "expected inet:PORT@HOST, inet6:PORT@HOST, inet:HOST:PORT or unix:/path"

/**
 * Reads `inet:PORT@HOST` and `inet6:PORT@HOST` (Sendmail, libmilter), `inet:HOST:PORT` (Postfix), `unix:/path`,
 * `local:/path` and a bare `/path`. Without a host the address is loopback, never all interfaces.
 */
export const parse = (spec: string): Result.Result<Endpoint, InvalidValue> => {
  const invalid = (reason: string): Result.Result<never, InvalidValue> =>
    Result.fail(new InvalidValue({ what: "endpoint", value: spec, reason }))
  const path = /^(?:(?:unix|local):)?(\/[^\0]+)$/.exec(spec)?.[1]
  if (path !== undefined) return Result.succeed({ _tag: "Unix", path })
  const [, family, rest] = /^(inet6?):(.+)$/.exec(spec) ?? []
  if (family === undefined || rest === undefined) return invalid(expected)
  const sendmail = /^(\d+)(?:@(.+))?$/.exec(rest)
  const postfix = sendmail === null ? /^(.+):(\d+)$/.exec(rest) : null
  if (sendmail === null && postfix === null) return invalid(expected)
  const port = Number(sendmail?.[1] ?? postfix?.[2])
  const host = sendmail?.[2] ?? postfix?.[1] ?? loopback[family === "inet6" ? "inet6" : "inet"]
  if (port > 65535) return invalid("expected a port from 0 to 65535")
  return Result.succeed({ _tag: "Tcp", host: host.replace(/^\[(.*)\]$/, "$1"), port })
}

/** Reads the same as {@link parse}, and `fd:3`, `systemd`, `systemd:NAME`. */
export const parseListening = (spec: string): Result.Result<Listening, InvalidValue> => {
  const descriptor = /^fd:(\d{1,9})$/.exec(spec)?.[1]
  if (descriptor !== undefined) return Result.succeed({ _tag: "Descriptor", descriptor: Number(descriptor) })
  // The names are systemd's: FileDescriptorName=, by default that of the socket unit.
  const systemd = /^systemd(?::([^\s:]+))?$/.exec(spec)
  if (systemd !== null) return Result.succeed({ _tag: "Systemd", name: systemd[1] })
  return Result.mapError(
    parse(spec),
    ({ reason, value, what }) =>
      new InvalidValue({
        what,
        value,
        reason: reason === expected ? `${expected.replace(" or ", ", ")}, fd:NUMBER, systemd or systemd:NAME` : reason
      })
  )
}

/** Writes an endpoint in Sendmail's spelling; {@link parse} reads it. */
export const format = (endpoint: Endpoint): string =>
  endpoint._tag === "Unix"
    ? `unix:${endpoint.path}`
    : endpoint.host.includes(":")
    ? `inet6:${endpoint.port}@[${endpoint.host}]`
    : `inet:${endpoint.port}@${endpoint.host}`
