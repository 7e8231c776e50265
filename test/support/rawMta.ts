/**
 * An MTA that does as it is told: sends packets, or any bytes, to a filter served in memory and collects what comes back.
 * No clock, no timeouts; after each step everything that can happen without the clock moving has happened.
 */
import * as Frame from "effect-milter/Frame"
import type { Filter } from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { OpenFile } from "../../src/internal/bytes/spool.ts"
import { type Accepting, listenerOf } from "../../src/internal/net/listener.ts"
import { makePair } from "../../src/internal/net/memoryTransport.ts"
import type { Transport } from "../../src/internal/net/transport.ts"

export interface Logged {
  readonly level: string
  readonly text: string
  readonly session: unknown
}

/** Turns of the event loop that let everything that is runnable run, with some to spare. */
export const settle: Effect.Effect<void> = Effect.flatMap(
  Effect.service(References.MaxOpsBeforeYield),
  // Fibers that yield every few steps need a turn for each time.
  (budget) => Effect.repeat(Effect.yieldNow, { times: 8 + Math.ceil(240 / budget) })
)

const bytes = (text: string): ByteString => ByteString.fromText(text)

/** All that Postfix and Sendmail offer today. */
export const modern = { version: 6, actions: 0x1ff, steps: 0x1fffff }

// --- commands

export const negotiate = (offer: Partial<typeof modern> = {}): Packet.Negotiate => ({
  _tag: "Negotiate",
  ...modern,
  ...offer
})
export const macros = (stage: string, values: { readonly [name: string]: string }): Packet.Macro => ({
  _tag: "Macro",
  stage: bytes(stage),
  macros: Object.entries(values).map(([name, value]) => ({ name: bytes(name), value: bytes(value) }))
})
export const connect = (hostname = "client.example", address = "192.0.2.1", port = 40000): Packet.Connect => ({
  _tag: "Connect",
  hostname: bytes(hostname),
  address: { _tag: address.includes(":") ? "IPv6" : "IPv4", port, address: bytes(address) }
})
export const helo = (name = "client.example"): Packet.Helo => ({ _tag: "Helo", name: bytes(name) })
export const mail = (sender = "<alice@example.com>", ...parameters: ReadonlyArray<string>): Packet.Mail => ({
  _tag: "Mail",
  sender: bytes(sender),
  parameters: parameters.map(bytes)
})
export const rcpt = (recipient = "<bob@example.org>", ...parameters: ReadonlyArray<string>): Packet.Rcpt => ({
  _tag: "Rcpt",
  recipient: bytes(recipient),
  parameters: parameters.map(bytes)
})
export const data: Packet.Data = { _tag: "Data" }
export const header = (name = "Subject", value = " hello"): Packet.Header => ({
  _tag: "Header",
  name: bytes(name),
  value: bytes(value)
})
export const endOfHeaders: Packet.EndOfHeaders = { _tag: "EndOfHeaders" }
export const body = (text = "hello\r\n"): Packet.Body => ({ _tag: "Body", bytes: new TextEncoder().encode(text) })
export const endOfMessage = (text = ""): Packet.EndOfMessage => ({
  _tag: "EndOfMessage",
  bytes: new TextEncoder().encode(text)
})
export const unknown = (line = "FOO bar"): Packet.Unknown => ({ _tag: "Unknown", line: bytes(line) })
export const abort: Packet.Abort = { _tag: "Abort" }
export const quit: Packet.Quit = { _tag: "Quit" }
export const quitNewConnection: Packet.QuitNewConnection = { _tag: "QuitNewConnection" }

/** From MAIL to the last piece of the body. */
export const content: ReadonlyArray<Packet.MtaPacket> = [mail(), rcpt(), data, header(), endOfHeaders, body()]
/** A whole message. */
export const message: ReadonlyArray<Packet.MtaPacket> = [...content, endOfMessage()]

// --- the driver

/** What the library says itself when a filter cannot decide. */
export const ownWords = /^451 4\.3\.0 Temporary failure, please try again later \(session [0-9a-z]+-[0-9a-z]+\)$/

/** As `Packet.format`, but the library's own words are a plain `TempFail`: they name a session, which no test knows. */
const print = (packet: Packet.FilterPacket): string =>
  packet._tag === "ReplyCode" && ownWords.test(packet.text) ? "TempFail" : Packet.format(packet)

export interface Mta {
  /** Writes packets in one go and returns the replies that have come meanwhile, as `Packet.format` prints them. */
  readonly say: (...packets: ReadonlyArray<Packet.MtaPacket>) => Effect.Effect<ReadonlyArray<string>>
  /** Writes packets one after the other and returns the replies to each, joined by a comma. */
  readonly each: (...packets: ReadonlyArray<Packet.MtaPacket>) => Effect.Effect<ReadonlyArray<string>>
  /** Writes packets and leaves the replies where they are. */
  readonly write: (...packets: ReadonlyArray<Packet.MtaPacket>) => Effect.Effect<void>
  /** Writes any bytes and leaves the replies where they are. */
  readonly send: (bytes: Uint8Array) => Effect.Effect<void>
  /** Writes any bytes. */
  readonly raw: (bytes: Uint8Array) => Effect.Effect<ReadonlyArray<string>>
  /** What has come since the last look. */
  readonly replies: Effect.Effect<ReadonlyArray<string>>
  /** The same as packets. */
  readonly packets: Effect.Effect<ReadonlyArray<Packet.FilterPacket>>
  /** Closes in order, as MTAs do after QUIT or instead of it. */
  readonly end: Effect.Effect<void>
  /** Drops the connection. */
  readonly reset: Effect.Effect<void>
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** Whether the filter takes more: false while it has stopped reading. */
  readonly room: Effect.Effect<boolean>
  /** Whether the filter has closed. */
  readonly closed: Effect.Effect<boolean>
  /** What the filter answered to the offer; zeros before. */
  readonly agreed: { readonly version: number; readonly actions: number; readonly steps: number }
}

const wrap = (transport: Transport): Mta => {
  const decoder = Frame.makeDecoder()
  const received: Array<Frame.Frame> = []
  let closed = false
  let room = true
  transport.open({
    data: (chunk) => {
      const error = decoder.push(chunk, received)
      if (error !== undefined) throw error
    },
    end: () => {
      closed = true
      transport.close()
    },
    drain: () => {
      room = true
    },
    closed: () => {
      closed = true
    }
  })
  let agreed = { version: 0, actions: 0, steps: 0 }
  const packets = Effect.map(settle, () =>
    received.splice(0).map((frame) => {
      const packet = Result.getOrThrow(Packet.decodeFilter(frame))
      if (packet._tag === "Negotiated") agreed = packet
      return packet
    }))
  const replies = Effect.map(packets, (packets) => packets.map(print))
  const write = (bytes: Uint8Array) =>
    Effect.sync(() => {
      room = transport.write(bytes)
    })
  const raw = (bytes: Uint8Array) => Effect.andThen(write(bytes), replies)
  const say = (...packets: ReadonlyArray<Packet.MtaPacket>) => Effect.suspend(() => raw(encode(...packets)))
  return {
    say,
    each: (...packets) => Effect.forEach(packets, (packet) => Effect.map(say(packet), (replies) => replies.join(", "))),
    write: (...packets) => Effect.suspend(() => write(encode(...packets))),
    send: write,
    raw,
    replies,
    packets,
    end: Effect.andThen(Effect.sync(() => transport.close()), settle),
    reset: Effect.andThen(Effect.sync(() => transport.destroy()), settle),
    pause: Effect.sync(() => transport.pause()),
    resume: Effect.andThen(Effect.sync(() => transport.resume()), settle),
    room: Effect.map(settle, () => room),
    closed: Effect.map(settle, () => closed),
    get agreed() {
      return agreed
    }
  }
}

/** The bytes of packets, copied together as one read would bring them. */
export const encode = (...packets: ReadonlyArray<Packet.MtaPacket>): Uint8Array => {
  const parts = packets.map((packet) => Packet.encode(packet))
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

export interface Server {
  readonly dial: Effect.Effect<Mta>
  /** Dials, negotiates and throws the answer away. */
  readonly open: (offer?: Partial<typeof modern>) => Effect.Effect<Mta>
  /** Warnings and errors so far. */
  readonly logs: ReadonlyArray<Logged>
  /** Lines of less weight, with their annotations. */
  readonly infos: ReadonlyArray<{ readonly text: string; readonly annotations: Readonly<Record<string, unknown>> }>
  /** Closes the server's scope. */
  readonly stop: Effect.Effect<void>
}

/** Serves a filter through the real server layer; it stops with the test's scope. Large bodies stay in memory without files. */
export const serve = Effect.fnUntraced(function*<R>(
  filter: Filter<never, R>,
  options?: MilterServer.Options,
  openFile?: OpenFile
) {
  const logs: Array<Logged> = []
  const infos: Array<Server["infos"][number]> = []
  const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
    const texts = (Array.isArray(message) ? message : [message]).map(String)
    const text = cause.reasons.length === 0 ? texts.join(" ") : `${texts.join(" ")}: ${Cause.pretty(cause)}`
    const annotations = fiber.getRef(References.CurrentLogAnnotations)
    // TestClock's own, on a machine that is slow.
    if (text.startsWith("A test is using time")) return
    if (logLevel === "Info") infos.push({ text, annotations })
    else logs.push({ level: logLevel, text, session: annotations["session"] })
  })
  let accept: ((transport: Transport) => void) | undefined
  const accepting: Accepting = {
    addresses: ["memory"],
    accept: (onConnection) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          accept = onConnection
        }),
        () => accepting.stop
      ),
    stop: Effect.sync(() => {
      accept = undefined
    }),
    drains: options?.drainTimeout !== undefined,
    ...(openFile === undefined ? {} : { openFile })
  }
  const scope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) => Scope.close(scope, exit))
  yield* Layer.buildWithScope(
    // Nobody moves the clock while a test's scope closes.
    MilterServer.layer(filter, { drainTimeout: 0, ...options }).pipe(
      Layer.provide(Layer.succeed(MilterServer.Listener, listenerOf(accepting))),
      Layer.provide(Logger.layer([logger]))
    ),
    scope
  )
  const dial = Effect.suspend(() => {
    const [ours, theirs] = makePair(["mta", "filter"])
    if (accept === undefined) return Effect.die("the server does not listen")
    accept(theirs)
    return Effect.as(settle, wrap(ours))
  })
  const server: Server = {
    dial,
    open: (offer) => Effect.tap(dial, (mta) => mta.say(negotiate(offer))),
    logs,
    infos,
    stop: Scope.close(scope, Exit.void)
  }
  return server
})
