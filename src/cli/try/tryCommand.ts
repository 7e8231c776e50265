/** `effect-milter try`: a private Postfix that asks the filters of modules, for mail that is sent to it by hand. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import type * as Net from "node:net"
import { ofParts } from "../../internal/bytes/byteString.ts"
import * as MilterServer from "../../MilterServer.ts"
import { layer as dialer } from "../../node/NodeMilterClient.ts"
import { layer as listenerLayer } from "../../node/NodeMilterServer.ts"
import * as NodeSmtpServer from "../../node/NodeSmtpServer.ts"
import { ByteString } from "../../Wire.ts"
import * as endless from "../endless.ts"
import { flag as logLevel, withLevel } from "../flags/logLevel.ts"
import * as specs from "../flags/specs.ts"
import { loadFilters } from "../loadFilter.ts"
import { printable, type Style, style } from "../terminal/style.ts"
import { PacketLog } from "../trace/packetLog.ts"
import { between, Tracer } from "../trace/traceCommand.ts"
import * as exit from "../trouble/exit.ts"
import * as privatePostfix from "./privatePostfix.ts"

/** A server that takes mail: what it is, where, and how it fails later. */
interface Receiver {
  readonly name: string
  readonly port: number
  readonly ended: Effect.Effect<never, exit.Trouble>
}

const complain = (text: string): void => void process.stderr.write(`effect-milter: ${text}\n`)

const text = (value: string): string => printable(ByteString.fromText(value))

/** A message and its envelope between two lines. */
const shown = (what: string, { message, recipients, sender }: privatePostfix.Delivered, { bold }: Style): string => {
  const content = printable(ofParts(ByteString.fromBytes(message).replaceAll("\r\n", "\n")))
  const to = recipients.map((recipient) => `<${text(recipient)}>`).join(", ")
  return `${bold(`--- ${what}, from <${text(sender)}> to ${to}`)}\n${content.trimEnd()}\n${bold("---")}\n`
}

/** The private Postfix, with what it delivers and holds shown. */
const withPostfix = Effect.fnUntraced(function*(
  installation: privatePostfix.Installation,
  milter: string,
  style: Style
) {
  const port = /^inet:(\d+)@/.exec(milter)![1]!
  const postfix = yield* privatePostfix.start(installation, `inet:127.0.0.1:${port}`)
  const look = Effect.gen(function*() {
    for (const message of yield* postfix.deliveries) process.stdout.write(shown("delivered", message, style))
    for (const queueId of yield* postfix.held) {
      process.stdout.write(`${style.bold(`--- ${queueId} is in quarantine: Postfix holds it`)}\n`)
    }
  })
  yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced("200 millis")))
  return { name: `Postfix ${postfix.version}`, port: postfix.port, ended: postfix.ended } satisfies Receiver
})

/** The parts of the package smtp-server that are used. */
interface SmtpServer {
  readonly listen: (port: number, host: string, done: () => void) => void
  readonly close: (done: () => void) => void
  readonly on: (event: "error", listener: (error: Error) => void) => void
  readonly server: Net.Server
}

interface SmtpServerModule {
  readonly SMTPServer: new(options: object) => SmtpServer
}

// No dependency of this package, so that no type is there for whoever compiles it.
const smtpServer: string = "smtp-server"

/** A server in this process, which asks the filter as Postfix does. */
const withoutPostfix = Effect.fnUntraced(function*(milter: string, why: string, style: Style) {
  const { SMTPServer } = yield* Effect.tryPromise({
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what its documentation says
    try: () => import(smtpServer) as Promise<SmtpServerModule>,
    catch: () =>
      exit.trouble(`no private Postfix: ${why}. To play Postfix, try needs a package: npm install smtp-server`)
  })
  complain(`no private Postfix: ${why}. The program plays Postfix itself, with smtp-server`)
  const hooks = yield* NodeSmtpServer.hooks([milter], (mail) =>
    Effect.map(NodeSmtpServer.toBytes(mail), (message) => {
      const what = mail.quarantined === undefined ? "delivered" : `in quarantine (${text(mail.quarantined)})`
      process.stdout.write(shown(what, { ...mail, message }, style))
    }))
  const { server } = yield* Effect.acquireRelease(
    Effect.callback<SmtpServer, exit.Trouble>((resume) => {
      const server = new SMTPServer({
        authOptional: true,
        disabledCommands: ["AUTH", "STARTTLS"],
        disableReverseLookup: true,
        // The end does not wait for a client that stays.
        closeTimeout: 500,
        ...hooks
      })
      server.on("error", (error) => resume(exit.trouble(`no SMTP server can listen: ${exit.lineOf(error)}`)))
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.callback<void>((resume) => server.close(() => resume(Effect.void)))
  )
  // It listens on TCP.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see above
  const { port } = server.address() as Net.AddressInfo
  return { name: "A server that plays Postfix", port, ended: Effect.never } satisfies Receiver
})

const run = Effect.fnUntraced(function*(files: ReadonlyArray<string>) {
  const served = yield* loadFilters(files)
  const colours = yield* style
  const named = files.join(", ")
  const cannot = (error: unknown): exit.Trouble => exit.trouble(`${named} cannot be tried: ${exit.lineOf(error)}`)
  const context = yield* Layer.build(
    (served._tag === "Server" ? served.layer : MilterServer.layer(served.filter)).pipe(
      Layer.provideMerge(listenerLayer({ listen: "inet:0" }))
    )
  ).pipe(Effect.mapError(cannot), Effect.catchDefect((defect) => Effect.fail(cannot(defect))))
  const [filter] = Context.get(context, MilterServer.Listener).addresses
  const tracer = new Tracer(new PacketLog(colours, false, yield* Clock.currentTimeMillis, undefined), 0)
  const [milter] = yield* between("inet:0", 0o600, filter!, tracer)
  const installation = yield* privatePostfix.installation
  const receiver: Receiver = typeof installation === "string"
    ? yield* withoutPostfix(milter!, installation, colours)
    : yield* withPostfix(installation, milter!, colours)
  yield* endless.markEndless
  process.stdout.write(
    `${receiver.name} listens on port ${receiver.port} of 127.0.0.1 and asks ${named}. It delivers to this terminal only.\n` +
      `Send it a message: swaks --server 127.0.0.1:${receiver.port} --from alice@example.org --to bob@example.net\n` +
      "Ctrl-C ends it.\n"
  )
  return yield* receiver.ended
})

/** What the filter logs goes to standard error. */
export const try_ = Command.make(
  "try",
  {
    files: specs.pathArgument("FILE").pipe(
      Argument.withDescription("A module (.ts or .js), as for serve; the filters of several are asked in this order"),
      Argument.variadic({ min: 1 })
    ),
    logLevel
  },
  ({ files, logLevel }) =>
    run(files).pipe(
      Effect.scoped,
      Effect.provide(dialer),
      withLevel(logLevel, "warn"),
      Effect.provideService(References.LogToStderr, true)
    )
).pipe(
  Command.withDescription(
    "Starts a private Postfix that asks your filter, prints its port, and shows each conversation and each delivery. The " +
      "Postfix of the host is not touched, and no mail leaves the host. Needs root and Postfix; without either the program " +
      "plays Postfix itself, with the npm package smtp-server. Ends at Ctrl-C, with exit code 0"
  ),
  Command.withShortDescription("Starts a private Postfix that asks your filter, and shows what happens"),
  Command.withExamples([{ command: "effect-milter try filter.ts" }])
)
