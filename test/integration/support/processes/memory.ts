/**
 * A server whose memory is watched, in a process of its own; see ../memory.ts. It is forked with --expose-gc, and its
 * argument names the filter.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Message from "effect-milter/Message"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterClient, NodeMilterServer, NodeSmtpServer } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as smtpServer from "../../../support/smtpServer.ts"
import type { Memory, Name, Report, Request } from "../memory.ts"

// --- what is measured

const zero: Memory = { rss: 0, heap: 0, external: 0 }
let peak = zero
let seen = 0
let released: (() => void) | undefined

const look = (): Memory => {
  const { external, heapUsed, rss } = process.memoryUsage()
  return { rss, heap: heapUsed, external }
}

const most = (one: Memory, other: Memory): Memory => ({
  rss: Math.max(one.rss, other.rss),
  heap: Math.max(one.heap, other.heap),
  external: Math.max(one.external, other.external)
})

/** Files that have no name any more and are still open: bodies that wait. */
const openFiles = (): number =>
  Fs.readdirSync("/proc/self/fd").filter((descriptor) => {
    try {
      return Fs.readlinkSync(`/proc/self/fd/${descriptor}`).endsWith("(deleted)")
    } catch {
      return false
    }
  }).length

/** More than once: buffers outside of the heap go one turn later. */
const collect = async (): Promise<void> => {
  for (let turn = 0; turn < 3; turn++) {
    await (globalThis.gc as unknown as (options: { readonly execution: "async" }) => Promise<void>)({
      execution: "async"
    })
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

setInterval(() => {
  peak = most(peak, look())
}, 10).unref()

const answer = async (request: Request): Promise<void> => {
  if (request === "release") return released?.()
  if (request !== "report") await collect()
  if (request === "reset") {
    peak = zero
    seen = 0
  }
  const now = look()
  peak = most(peak, now)
  const { system, user } = process.cpuUsage()
  const report: Report = {
    now,
    peak,
    seen,
    openFiles: openFiles(),
    descriptors: Fs.readdirSync("/proc/self/fd").length,
    sessions: Effect.runSync(MilterServer.status).reduce((sum, { sessions }) => sum + sessions, 0),
    cpu: Math.round((system + user) / 1000)
  }
  process.send?.(report)
}

process.on("message", (request: Request) => void answer(request))

// --- the filters

const goOn = Effect.succeed(Verdict.continue)

/** Holds all that comes until it is released, then stops for a moment at every `every`th. */
const slowly = (every: number, milliseconds: number) => {
  const blocked = Effect.callback<void>((resume) => {
    released = () => resume(Effect.void)
  })
  return () =>
    Effect.suspend(() => {
      seen++
      if (seen === 1) return blocked
      return seen % every === 0 ? Effect.sleep(milliseconds) : Effect.void
    })
}

const piece = new Uint8Array(100_000).fill(120)

const counts = () => Effect.sync(() => void seen++)

const open = Milter.make("open").on({ mail: () => goOn, rcpt: () => goOn, endOfMessage: () => goOn }, {
  header: counts,
  body: counts
})

const filters: { readonly [K in Name]: Milter.Filter<never, never> } = {
  headers: Milter.make("headers").on({}, { header: slowly(1000, 3) }),
  body: Milter.make("body").on({}, { body: slowly(1, 1) }),
  wordy: Milter.make("wordy").on({
    mail: ({ sender }) =>
      Effect.succeed(
        sender.address === "flood"
          ? Verdict.reject({ code: "550", enhanced: "5.7.1", text: "x".repeat(800) })
          : Verdict.continue
      )
  }),
  replace: Milter.make("replace", { modify: ["replaceBody"] }).on({
    endOfMessage: (_, { edit }) =>
      edit.replaceBody(Stream.range(1, 500).pipe(Stream.map(() => piece))).pipe(Effect.andThen(goOn))
  }),
  mime: Message.make("mime", { modify: ["mime"] }).on({
    document: ({ mime }) =>
      mime.prepend({ text: "before" }).pipe(
        Effect.andThen(mime.append({ text: "after" })),
        Effect.orDie,
        Effect.andThen(goOn)
      )
  }),
  open,
  limited: open,
  smtpServer: Milter.make("adding", { modify: ["addHeader"] }).on({
    endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Seen", "yes"), Verdict.continue)
  }, { body: counts }),
  spooling: Milter.sequence([
    Milter.make("editing", { modify: ["addHeader"] }).on({ endOfMessage: () => goOn }),
    Milter.make("looking").on({}, { body: counts })
  ])
}

const options: { readonly [K in Name]?: MilterServer.Options } = {
  open: { maxConnections: 20_000 },
  limited: { maxHeaders: 1000, maxRecipients: 1000 }
}

/** An SMTP server that asks the filter twice, and reads what it delivers. */
const smtp = Effect.fnUntraced(function*(filter: string) {
  const hooks = yield* NodeSmtpServer.hooks(
    [filter, filter],
    ({ message }) => Stream.runForEach(message, ({ length }) => Effect.sync(() => void (seen += length)))
  )
  return yield* smtpServer.listen(hooks)
})

const name = process.argv[2] as Name

MilterServer.layer(filters[name], { writeTimeout: "4 seconds", ...options[name] }).pipe(
  Layer.provideMerge(NodeMilterServer.layer({ listen: "inet:0" })),
  Layer.tap((context) => {
    const { addresses: [address] } = Context.get(context, MilterServer.Listener)
    const port = name === "smtpServer" ? smtp(address!) : Effect.succeed(Number(/^inet:(\d+)@/.exec(address!)![1]))
    return Effect.map(port, (port) => process.send?.(port))
  }),
  Layer.provide(NodeMilterClient.layer),
  Layer.launch,
  NodeRuntime.runMain({ teardown: NodeMilterServer.teardown })
)
