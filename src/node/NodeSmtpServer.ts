/**
 * Milters in an SMTP server written for Node: the hooks of the npm package `smtp-server`, which is no dependency of this
 * one. The filters are asked at each command, as by an MTA.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Dns from "node:dns/promises"
import * as Os from "node:os"
import * as ClientAddress from "../ClientAddress.ts"
import * as Delivery from "../Delivery.ts"
import { ByteString } from "../internal/bytes/byteString.ts"
import { concat } from "../internal/bytes/concat.ts"
import type { InvalidValue } from "../InvalidValue.ts"
import type * as MilterClient from "../MilterClient.ts"
import type { Reply } from "../Reply.ts"
import { isDiskFull } from "./internal/diskFull.ts"
import { isNotReceived, MessageSource } from "./internal/messageSource.ts"

/**
 * The properties of a session of `smtp-server` that are used.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  readonly id: string
  readonly remoteAddress: string
  readonly remotePort: number
  /** The name in DNS (PTR), which `smtp-server` has not verified, or the address in brackets. */
  readonly clientHostname: string
  /** The argument of HELO or EHLO. */
  readonly hostNameAppearsAs: string | false
  /** The login from `onAuth`: a name, or an object with `username` and, optionally, `method`. */
  readonly user?: unknown
  /** Whether the connection is encrypted, and how. */
  readonly secure?: boolean
  readonly tlsOptions?: unknown
  readonly localAddress?: string
}

/**
 * The properties of an address of `smtp-server` that are used: the address without brackets, and its ESMTP parameters by name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Address {
  readonly address: string
  readonly args?: { readonly [name: string]: unknown } | false | undefined
}

/**
 * A message that the filters let pass. {@link toBytes} reads it as a whole; for a stream of Node there is
 * `NodeStream.toReadable` in `@effect/platform-node`.
 *
 * - `message`: the message after the filters, header and body with CR LF. Can be run several times, until `deliver` ends
 * - `length`: its bytes
 * - `quarantined`: a filter wants somebody to look at it first, for this reason
 * - `session`: the SMTP session in which it came
 *
 * @category models
 * @since 0.1.0
 */
export interface Mail {
  readonly sender: string
  readonly recipients: ReadonlyArray<string>
  readonly message: Stream.Stream<Uint8Array>
  readonly length: number
  readonly quarantined: string | undefined
  readonly session: Session
}

/**
 * Tells `smtp-server` to go on, or what to answer instead.
 *
 * @category models
 * @since 0.1.0
 */
export type Callback = (error?: Error | null) => void

/**
 * Hooks for the options of `new SMTPServer(…)`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hooks {
  readonly onConnect: (session: Session, callback: Callback) => void
  readonly onMailFrom: (address: Address, session: Session, callback: Callback) => void
  readonly onRcptTo: (address: Address, session: Session, callback: Callback) => void
  readonly onData: (stream: AsyncIterable<unknown>, session: Session, callback: Callback) => void
  readonly onClose: (session: Session) => void
}

/** An SMTP session with its filters. */
interface State {
  readonly scope: Scope.Closeable
  filters: MilterClient.Chain | undefined
  /** What the client said when the filters were last told, and whether the connection was encrypted then. */
  helo: string | undefined
  secure: boolean
}

/** A server of filters imports this file with the others of `node`, and does without the MTA's side of the protocol. */
const chainOf: typeof MilterClient.chain = (filters, options) =>
  Effect.flatMap(Effect.promise(() => import("../MilterClient.ts")), ({ chain }) => chain(filters, options))

const goesOn: MilterClient.Decision = { _tag: "Continue" }

const errorOf = ({ code, enhanced, lines }: Reply): Error =>
  Object.assign(
    new Error([enhanced ?? "", ...lines.map(ByteString.toText)].filter((part) => part !== "").join(" ")),
    { responseCode: Number(code) }
  )

const failure = Object.assign(new Error("4.3.0 Please try again later"), { responseCode: 451 })

const noRoom = Object.assign(new Error("4.3.1 Insufficient system storage"), { responseCode: 452 })

/** The macros about the server, unless the options have them. */
const ownMacros = ({ localAddress }: Session): MilterClient.MacroValues => {
  const hostname = Os.hostname()
  return {
    j: hostname,
    v: "smtp-server",
    "{daemon_name}": hostname,
    "{if_name}": hostname,
    ...(localAddress === undefined ? {} : { "{daemon_addr}": localAddress, "{if_addr}": localAddress })
  }
}

const stringAt = (value: unknown, key: string): string | undefined => {
  if (!Predicate.hasProperty(value, key)) return undefined
  const found: unknown = value[key]
  return typeof found === "string" && found !== "" ? found : undefined
}

/** `smtp-server` does not tell the method of a login: `onAuth` can return it together with the name. */
const authMacros = ({ user }: Session): MilterClient.MacroValues => {
  const name = typeof user === "string" && user !== "" ? user : stringAt(user, "username")
  return name === undefined
    ? {}
    : { "{auth_type}": stringAt(user, "method") ?? "unknown", "{auth_authen}": name }
}

/** The bits of the keys of ciphers by what their names hold. */
const cipherBits: ReadonlyArray<readonly [part: RegExp, bits: string]> = [
  [/256|CHACHA20/, "256"],
  [/128/, "128"],
  [/3DES|DES-CBC3/, "168"]
]

const tlsMacros = ({ secure, tlsOptions }: Session): MilterClient.MacroValues => {
  const version = stringAt(tlsOptions, "version")
  const cipher = stringAt(tlsOptions, "name")
  if (secure !== true || version === undefined || cipher === undefined) return {}
  const bits = cipherBits.find(([part]) => part.test(cipher))?.[1]
  return {
    "{tls_version}": version,
    "{cipher}": cipher,
    ...(bits === undefined ? {} : { "{cipher_bits}": bits })
  }
}

const lookupTimeout = "5 seconds"

/**
 * The name of the client if it resolves to the client's address, else the address in brackets: the owner of an address can
 * put any name into its PTR record.
 */
const verifiedName = ({ clientHostname, remoteAddress }: Session): Effect.Effect<string> => {
  const unverified = `[${remoteAddress}]`
  if (clientHostname.startsWith("[")) return Effect.succeed(unverified)
  const client = ClientAddress.fromText(remoteAddress)
  if (Result.isFailure(client)) return Effect.succeed(unverified)
  return Effect.tryPromise(() => Dns.lookup(clientHostname, { all: true })).pipe(
    Effect.timeout(lookupTimeout),
    Effect.map((found) =>
      found.some(({ address }) =>
        Result.match(ClientAddress.fromText(address), {
          onSuccess: (confirmed) => confirmed.toString() === client.success.toString(),
          onFailure: () => false
        })
      )
    ),
    Effect.orElseSucceed(() => false),
    Effect.map((leadsBack) => leadsBack ? clientHostname : unverified)
  )
}

const parametersOf = ({ args }: Address): ReadonlyArray<string> =>
  typeof args !== "object"
    ? []
    : Object.entries(args).map(([name, value]) => typeof value === "string" ? `${name}=${value}` : name)

/**
 * Hooks that ask milters, in the order given: a client, sender or recipient that one of them refuses is refused there and
 * then. What they let pass goes to `deliver`, with their changes; the SMTP client is answered when that is done, and put off
 * if it fails: 452 if the disk is full (`ENOSPC`, `EDQUOT`, also as the cause of another error), else 451.
 *
 * If a filter is not available, its policy decides; by default the client is asked to try again later. See `MilterClient.chain`.
 * Other options of `smtp-server` stay yours, TLS and authentication among them. Filters are told of a login, `{auth_authen}`
 * and `{auth_type}`: of the name that `onAuth` gives as `user`, or of an object's `username` and `method`
 * (`callback(null, { user: { username, method: auth.method } })`); without a method the type is `unknown`. They are told of
 * TLS, and the name of a client only if it leads back to its address (a lookup of five seconds at most). What the server
 * says of itself, `j` above all, is the host's name unless the option `macros` says otherwise.
 *
 * The body goes to the first filter while it arrives; a filter that is slow slows the client down. For the other filters and
 * for `deliver` it is kept until `deliver` ends, up to 256 KiB of it in memory and more in a temporary file. So a message of
 * any length takes the same memory, unless a filter replaces its body. A header of more than 1 MiB is refused with 552.
 *
 * **Gotchas**
 *
 * - `smtp-server` closes the connection after a reply with code 421.
 * - Temporary files are as large as the option `size` of `smtp-server` allows: set it. Longer messages are refused with 552
 *   while they arrive.
 * - While a filter thinks about a piece of the body, `smtp-server` takes the client for idle. If that may take more than a
 *   minute, raise its option `socketTimeout`.
 * - A filter sees a login only if `onAuth` returns it as `user`.
 *
 * **Example** (Signed by opendkim)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { NodeMilterClient, NodeSmtpServer } from "effect-milter/node"
 *
 * const hooks = NodeSmtpServer.hooks(
 *   ["unix:/run/opendkim/opendkim.sock"],
 *   ({ length, recipients, sender }) => Effect.log(`${length} bytes from ${sender} to ${recipients.join(", ")}`)
 * ).pipe(Effect.provide(NodeMilterClient.layer))
 *
 * // new SMTPServer({ authOptional: true, ...hooks })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const hooks = <E, R>(
  filters: ReadonlyArray<string | MilterClient.FilterOptions>,
  deliver: (mail: Mail) => Effect.Effect<unknown, E, R>,
  options?: MilterClient.ChainOptions
): Effect.Effect<Hooks, never, R | MilterClient.Dialer> =>
  Effect.map(Effect.context<R | MilterClient.Dialer>(), (context) => {
    const fork = Effect.runForkWith(context)
    const sessions = new Map<string, State>()

    /** Does something with the session's filters and answers. */
    const step = (
      { id }: Session,
      callback: Callback,
      ask: (filters: MilterClient.Chain, state: State) => Effect.Effect<MilterClient.Decision, E | InvalidValue, R>
    ): void => {
      const state = sessions.get(id)
      fork(
        Effect.suspend(() =>
          // The client may have gone.
          state?.filters === undefined ? Effect.succeed(goesOn) : ask(state.filters, state)
        ).pipe(
          Effect.matchCauseEffect({
            onSuccess: (decision) =>
              Effect.sync(() => callback(decision._tag === "Refused" ? errorOf(decision.reply) : null)),
            onFailure: (cause) =>
              Effect.andThen(
                Effect.logError("the client is put off", cause),
                Effect.sync(() => callback(isDiskFull(cause) ? noRoom : failure))
              )
          })
        )
      )
    }

    return {
      onConnect: (session, callback) => {
        const state: State = { scope: Scope.makeUnsafe(), filters: undefined, helo: undefined, secure: false }
        sessions.set(session.id, state)
        const { remoteAddress: address, remotePort: port } = session
        const macros = { ...ownMacros(session), ...options?.macros }
        fork(
          Effect.map(
            Effect.all([
              chainOf(filters, { ...options, macros }).pipe(Scope.provide(state.scope)),
              verifiedName(session)
            ], { concurrency: "unbounded" }),
            ([chain, hostname]) => {
              state.filters = chain
              step(session, callback, () => chain.connect({ hostname, address, port }))
            }
          )
        )
      },
      onMailFrom: (address, session, callback) =>
        step(session, callback, (filters, state) =>
          Effect.gen(function*() {
            // There is no hook for RSET: a message that is still open has been given up.
            yield* filters.reset()
            const helo = session.hostNameAppearsAs
            const secure = session.secure === true
            // A client says HELO again when it has begun to encrypt.
            if (typeof helo === "string" && (helo !== state.helo || secure !== state.secure)) {
              state.helo = helo
              state.secure = secure
              yield* filters.macros("helo", tlsMacros(session))
              const decision = yield* filters.helo(helo)
              if (decision._tag === "Refused") return decision
            }
            yield* filters.macros("mail", authMacros(session))
            return yield* filters.mail(address.address, parametersOf(address))
          })),
      onRcptTo: (address, session, callback) =>
        step(session, callback, (filters) => filters.rcpt(address.address, parametersOf(address))),
      onData: (stream, session, callback) => {
        const source = new MessageSource(stream)
        step(session, callback, (filters) =>
          Effect.gen(function*() {
            const decision = yield* filters.data()
            if (decision._tag === "Refused") return decision
            const headers = yield* source.headers
            const { delivered, reply } = yield* filters.streamMessage({ headers, body: source.body })
            if (delivered !== undefined) yield* deliver(mailOf(delivered, session))
            return reply === undefined ? goesOn : refusal(reply)
          }).pipe(
            // The filters need not wait for the next command.
            Effect.onError(() => filters.reset()),
            Effect.catchIf(isNotReceived, ({ reply }) => Effect.succeed(refusal(reply))),
            Effect.scoped,
            // smtp-server answers after the end of the message, whether or not somebody wants the rest.
            Effect.ensuring(source.drain)
          ))
      },
      onClose: ({ id }) => {
        const state = sessions.get(id)
        if (state === undefined) return
        sessions.delete(id)
        fork(Effect.ensuring(state.filters?.quit() ?? Effect.void, Scope.close(state.scope, Exit.void)))
      }
    }
  })

const refusal = (reply: Reply): MilterClient.Decision => ({
  _tag: "Refused",
  reply,
  closes: false,
  filter: "",
  failure: undefined
})

const mailOf = (delivered: MilterClient.StreamedDelivery, session: Session): Mail => {
  const header = Delivery.toBytes({ ...delivered, body: new Uint8Array(0) })
  return {
    sender: ByteString.toText(delivered.sender),
    recipients: delivered.recipients.map(({ address }) => ByteString.toText(address)),
    message: Stream.concat(Stream.succeed(header), delivered.body),
    length: header.length + delivered.bodyLength,
    quarantined: delivered.quarantined === undefined ? undefined : ByteString.toText(delivered.quarantined),
    session
  }
}

/**
 * Reads the whole message into memory.
 *
 * **Example** (Delivers to a file)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as FileSystem from "effect/FileSystem"
 * import { NodeSmtpServer } from "effect-milter/node"
 *
 * const deliver = Effect.fnUntraced(function*(mail: NodeSmtpServer.Mail) {
 *   const files = yield* FileSystem.FileSystem
 *   yield* files.writeFile(`/var/spool/inbox/${mail.session.id}`, yield* NodeSmtpServer.toBytes(mail))
 * })
 * ```
 *
 * @category accessors
 * @since 0.1.0
 */
export const toBytes = ({ message }: Mail): Effect.Effect<Uint8Array> => Effect.map(Stream.runCollect(message), concat)
