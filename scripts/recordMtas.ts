/**
 * Records sessions of real MTAs with scripted filters, for test/fixtures/recordings: `effect-milter trace --record` sits
 * between each filter and the MTA. The SMTP dialogue is printed, and kept where the scenario asks for it.
 *
 *   node -C effect-milter-source scripts/recordMtas.ts [NAME...]
 *
 * Needs what the integration tests need: Postfix, the unpacked Sendmail, root. With EFFECT_MILTER_MTA set to a release of
 * scripts/fetchMta.sh, or to that of scripts/buildSendmail.sh, it records that release, into a folder of that name.
 */
import * as Frame from "effect-milter/Frame"
import * as Packet from "effect-milter/Packet"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { MtaError, poll, socketDirectory } from "../testbed/mta.ts"
import { isOf, type Scenario, scenarios, type Script } from "../testbed/mtaScenarios.ts"
import * as Postfix from "../testbed/postfix.ts"
import { releaseOf } from "../testbed/releases.ts"
import * as Sendmail from "../testbed/sendmail.ts"
import * as SmtpClient from "../testbed/smtpClient.ts"

const answered = new Set(Packet.mtaDefinitions.filter(({ answered }) => answered).map(({ name }) => name))

/** A filter that keeps to its script, on a UNIX socket that any user may connect to. */
const serve = ({ answers = [], wanted }: Script, path: string): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const left = [...answers]
      const server = Net.createServer((socket) => {
        const decoder = Frame.makeDecoder()
        socket.on("error", () => undefined)
        socket.on("data", (chunk) => {
          const frames: Array<Frame.Frame> = []
          decoder.push(chunk, frames)
          for (const frame of frames) {
            const packet = Packet.decodeMtaUnsafe(frame)
            if (packet._tag === "Negotiate") {
              socket.write(
                Packet.encode({ _tag: "Negotiated", version: 6, actions: 0x1ff, steps: 0, macros: [], ...wanted })
              )
            } else if (answered.has(packet._tag)) {
              const at = left.findIndex(([command]) => command === packet._tag)
              const answer = at === -1 ? { _tag: "Continue" as const } : left.splice(at, 1)[0]![1]
              for (const one of "_tag" in answer ? [answer] : answer) socket.write(Packet.encode(one))
            }
          }
        })
      })
      server.listen(path, () => {
        Fs.chmodSync(path, 0o666)
        resume(Effect.succeed(server))
      })
    }),
    (server) => Effect.sync(() => server.close())
  )

/** The program between MTA and filter. */
const trace = (listen: string, upstream: string, record: string, mode: string) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      ChildProcess.spawn(process.execPath, [
        "-C",
        "effect-milter-source",
        "src/cli/main.ts",
        "trace",
        "--listen",
        `unix:${listen}`,
        "--upstream",
        `unix:${upstream}`,
        "--record",
        record,
        "--mode",
        mode
      ], { stdio: ["ignore", "ignore", "inherit"] })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        child.on("exit", () => resume(Effect.void))
        child.kill("SIGTERM")
      })
  ).pipe(Effect.andThen(poll(15_000, Effect.sync(() => Fs.existsSync(listen) || undefined))))

const release = releaseOf("postfix") ?? releaseOf("sendmail")

const folder = Path.join("test/fixtures/recordings", release?.name ?? "")
const dialogues = Path.join("test/fixtures/dialogues", release?.name ?? "")
const deliveries = Path.join("test/fixtures/deliveries", release?.name ?? "")
for (const directory of [folder, deliveries, dialogues]) Fs.mkdirSync(directory, { recursive: true })

const play = Effect.fnUntraced(
  function*(name: string, { description, filters, isKept, keepsAnswers, lines, mc = [], mta }: Scenario) {
    const directory = yield* socketDirectory
    const files: Array<readonly [recording: string, fixture: string]> = []
    const addresses: Array<string> = []
    yield* Effect.scoped(Effect.gen(function*() {
      for (const [index, script] of filters.entries()) {
        const recording = `${directory}/${index}.jsonl`
        yield* serve(script, `${directory}/filter${index}`)
        yield* trace(
          `${directory}/tap${index}`,
          `${directory}/filter${index}`,
          recording,
          mta === "postfix" ? "666" : "600"
        )
        addresses.push(`unix:${directory}/tap${index}`)
        files.push([recording, index < filters.length - 1 ? `${name}.first` : name])
      }
      const { port, takeOne } = yield* mta === "postfix"
        ? Effect.map(Postfix.make({ milters: addresses.join(" ") }), ({ port, takeOne }) => ({ port, takeOne }))
        : Effect.map(
          Sendmail.make({ filters: addresses.map((address) => ({ address })), mc }),
          ({ port, takeOne }) => ({ port, takeOne })
        )
      const client = yield* SmtpClient.connect(port)
      process.stdout.write(`== ${name}: ${description}\n   ${client.greeting.text}\n`)
      const answers: Array<string> = []
      for (const line of lines) {
        const answer = yield* line.includes("\n") ? client.content(SmtpClient.crlf(line)) : client.command(line)
        answers.push(answer.text)
        process.stdout.write(`-> ${line.split("\n")[0]}\n   ${answer.text.replaceAll("\n", "\n   ")}\n`)
      }
      if (keepsAnswers === true) {
        Fs.writeFileSync(Path.join(dialogues, `${name}.json`), `${JSON.stringify(answers, undefined, 2)}\n`)
      }
      if (isKept === true) {
        const { raw, recipients, sender } = yield* takeOne()
        const envelope = [`from <${sender}>`, ...recipients.map((to) => `to <${to}>`), ""].join("\n")
        Fs.writeFileSync(Path.join(deliveries, `${name}.eml`), raw, "latin1")
        Fs.writeFileSync(Path.join(deliveries, `${name}.env`), envelope)
      }
      yield* Effect.sleep(300)
    }))
    for (const [recording, fixture] of files) {
      const recorded = Fs.readFileSync(recording, "utf8").split("\n").filter((line) => !line.includes(`"ev":"trace"`))
      const first = JSON.stringify({
        ev: "trace",
        desc: `${mta}: ${fixture === name ? "" : "the first of "}${description}`
      })
      Fs.writeFileSync(Path.join(folder, `${fixture}.jsonl`), [first, ...recorded].join("\n"))
    }
  },
  Effect.scoped
)

const wanted = process.argv.slice(2)

await Effect.runPromise(
  Effect.forEach(
    Object.entries(scenarios).filter(([name, scenario]) =>
      (wanted.length === 0 || wanted.includes(name)) && isOf(scenario, release?.name ?? "") &&
      (release === undefined || releaseOf(scenario.mta) !== undefined)
    ),
    ([name, scenario]) =>
      Effect.mapError(play(name, scenario), (error) => new MtaError({ message: `${name}: ${error.message}` })),
    { discard: true }
  )
)
