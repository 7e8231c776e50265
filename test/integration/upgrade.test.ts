/**
 * Two versions of the package with a filter each, installed side by side: an upgrade and a downgrade while mail flows through a
 * real Postfix, in the ways that docs/operate/deploy.md describes. The MTA's default action is accept, so that a message which
 * no filter has seen would be delivered without its header.
 */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { root } from "../../scripts/repository.ts"
import * as boundSocket from "../../src/node/internal/boundSocket.ts"
import { type Child, spawn } from "../../testbed/childProcess.ts"
import * as Postfix from "../../testbed/postfix.ts"
import { directory } from "../support/listeners.ts"
import { deliveredOf, send } from "./support/persistentSender.ts"

type Version = "1.0.0" | "2.0.0"

/** Messages that are accepted before each change, and after the last one. */
const between = 100

const run = (command: string, ...args: ReadonlyArray<string>): string =>
  ChildProcess.execFileSync(command, args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })

/** Says of each message which version of the filter has seen it, with which version of the package. */
const filterOf = (version: Version): string =>
  `import * as Milter from "effect-milter/Milter"
import manifest from "effect-milter/package.json" with { type: "json" }
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"

export default Milter.make("versioned", { modify: ["addHeader"] }).on({
  endOfMessage: (_, { edit }) =>
    edit.addHeader("X-Version", \`filter ${version} with \${manifest.version}\`).pipe(
      Effect.delay("20 millis"),
      Effect.as(Verdict.continue)
    )
})
`

/** Packs this package as another version, and installs it beside a filter. */
const install = (place: string, version: Version): void => {
  const home = Path.join(place, version)
  const installed = Path.join(home, "node_modules", "effect-milter")
  Fs.mkdirSync(installed, { recursive: true })
  const [tarball] = Fs.readdirSync(place).filter((file) => file.endsWith(".tgz"))
  run("tar", "-xzf", Path.join(place, tarball!), "-C", installed, "--strip-components=1")
  const manifest = Path.join(installed, "package.json")
  const packed: object = JSON.parse(Fs.readFileSync(manifest, "utf8"))
  Fs.writeFileSync(manifest, JSON.stringify({ ...packed, version }))
  for (const peer of ["effect", "@effect"]) {
    Fs.symlinkSync(Path.join(root, "node_modules", peer), Path.join(home, "node_modules", peer))
  }
  Fs.writeFileSync(Path.join(home, "package.json"), JSON.stringify({ private: true, type: "module" }))
  Fs.writeFileSync(Path.join(home, "filter.ts"), filterOf(version))
}

/** Lets `filter`, which the program is started with, be a version: at once, as `ln -sfn` and `mv -T` do. */
const pointTo = (place: string, version: Version): void => {
  Fs.symlinkSync(version, Path.join(place, "filter.new"))
  Fs.renameSync(Path.join(place, "filter.new"), Path.join(place, "filter"))
}

class Fixture extends Context.Service<Fixture, { readonly place: string; readonly postfix: Postfix.Instance }>()(
  "test/Fixture"
) {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const place = yield* directory
    run("npm", "pack", "--silent", "--pack-destination", place)
    install(place, "1.0.0")
    install(place, "2.0.0")
    const postfix = yield* Postfix.make<string>({ milters: "", mainCf: { milter_default_action: "accept" } })
    return { place, postfix }
  })
)

const program = (home: string): string => Path.join(home, "node_modules", "effect-milter", "dist", "cli", "main.js")

const socketOf = (place: string, name: string): string => `unix:${Path.join(place, `${name}.sock`)}`
const pagesOf = (place: string, name: string): string => `unix:${Path.join(place, `${name}-http.sock`)}`

/** Starts `effect-milter serve` of a version; when it takes connections. */
const serve = Effect.fnUntraced(function*(
  place: string,
  home: string,
  name: string,
  passed?: number
) {
  const listen = passed === undefined ? [socketOf(place, name), "--socket-mode", "0666"] : ["systemd"]
  const args = [program(home), "serve", Path.join(home, "filter.ts"), "--workers", "2", "--http", pagesOf(place, name)]
  const line = [process.execPath, ...args, "--listen", ...listen]
  const child = passed === undefined
    ? yield* spawn(line[0]!, line.slice(1))
    : yield* spawn("sh", ["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh", ...line], { pass: [passed] })
  yield* child.shows(/(?:versioned listens on [^]*){2}/)
  return child
})

/** What `effect-milter status` prints, of the program at the pages of this name. */
const status = (place: string, name: string): string =>
  run(process.execPath, program(Path.join(place, "1.0.0")), "status", pagesOf(place, name))

const stop = Effect.fnUntraced(function*(child: Child) {
  yield* child.signal("SIGTERM")
  assert.strictEqual(yield* child.exit, 0, child.output)
})

/** Mail flows, some changes are made meanwhile, and all of it is delivered once, by one version or the other. */
const underTraffic = Effect.fnUntraced(function*<E, R>(
  name: string,
  ...changes: ReadonlyArray<Effect.Effect<unknown, E, R>>
) {
  const { postfix } = yield* Fixture
  const senders: Array<string> = []
  let accepted = 0
  let wanted = Infinity
  const untilTheLast = function*() {
    while (senders.length < wanted) {
      const sender = `${name}-${senders.length}@example.org`
      senders.push(sender)
      yield sender
    }
  }
  const sending = yield* Effect.forkChild(send(postfix.port, untilTheLast(), 10, (count) => {
    accepted = count
  }))
  for (const change of changes) {
    const goal = accepted + between
    const hasReached = (): boolean => accepted >= goal
    while (!hasReached()) yield* Effect.sleep(10)
    yield* change
  }
  wanted = senders.length + between
  const { putOff, refused } = yield* Fiber.join(sending)
  const delivered = yield* deliveredOf(postfix, `${name}-`)
  assert.deepStrictEqual(refused, [])
  assert.deepStrictEqual(delivered.map(({ sender }) => sender).toSorted(), senders.toSorted())
  const seen = delivered.map((mail) => Postfix.headerValues(mail, "X-Version").join())
  // None unfiltered, none filtered twice, and no version of the filter with the other one's package.
  const known: ReadonlyArray<string> = ["filter 1.0.0 with 1.0.0", "filter 2.0.0 with 2.0.0"]
  assert.deepStrictEqual([...new Set(seen)].toSorted(), known)
  return { putOff, last: yield* versionNow(`last-${name}`) }
})

/** The version that filters a new message. */
const versionNow = Effect.fnUntraced(function*(name: string) {
  const { postfix } = yield* Fixture
  yield* send(postfix.port, [`${name}@example.org`], 1)
  const [mail] = yield* deliveredOf(postfix, `${name}@`)
  return Postfix.headerValues(mail!, "X-Version").join()
})

Postfix.describePostfix("an upgrade and a downgrade with Postfix", () => {
  layer(fixture, { excludeTestServices: true, timeout: "3 minutes" })((it) => {
    it.effect("by a reload: no session is dropped and no message put off", () =>
      Effect.gen(function*() {
        const { place, postfix } = yield* Fixture
        pointTo(place, "1.0.0")
        const child = yield* serve(place, Path.join(place, "filter"), "reloaded")
        yield* postfix.reconfigure({ smtpd_milters: socketOf(place, "reloaded") })
        assert.match(status(place, "reloaded"), /generation 1, version 1\.0\.0\nworker 1, pid \d+:/)

        const reload = (version: Version, generation: number) =>
          Effect.gen(function*() {
            pointTo(place, version)
            yield* child.signal("SIGHUP")
            yield* child.shows(new RegExp(`(?:the workers have been replaced[^]*){${generation - 1}}`))
            const seen = status(place, "reloaded")
            // The supervisor stays what it was until a restart.
            assert.match(seen, new RegExp(`generation ${generation}, version 1\\.0\\.0\n`))
            const workers = [...seen.matchAll(/^worker .*$/gm)].map(([line]) => line)
              .filter((line) => !line.includes("leaves"))
            assert.lengthOf(workers, 2)
            for (const worker of workers) {
              assert.strictEqual(worker.includes(", version 2.0.0"), version === "2.0.0", seen)
            }
          })
        const { last, putOff } = yield* underTraffic("reloaded", reload("2.0.0", 2), reload("1.0.0", 3))
        assert.strictEqual(putOff, 0)
        assert.strictEqual(last, "filter 1.0.0 with 1.0.0")
        yield* stop(child)
      }))

    it.effect("by a restart with a socket of systemd: MTAs wait for the next version", () =>
      Effect.gen(function*() {
        const { place, postfix } = yield* Fixture
        // As systemd does, this process keeps the socket while no filter serves it.
        const [socket] = yield* boundSocket.open(socketOf(place, "restarted"), {
          mode: 0o666,
          owner: undefined,
          group: undefined
        })
        const begin = (version: Version) => serve(place, Path.join(place, version), "restarted", socket!.descriptor)
        let child = yield* begin("1.0.0")
        yield* socket!.publish
        yield* postfix.reconfigure({ smtpd_milters: socketOf(place, "restarted") })

        const restart = (version: Version) =>
          Effect.gen(function*() {
            yield* stop(child)
            child = yield* begin(version)
            assert.match(
              status(place, "restarted"),
              new RegExp(`generation 1, version ${version.replaceAll(".", "\\.")}\n`)
            )
          })
        const { last } = yield* underTraffic("restarted", restart("2.0.0"), restart("1.0.0"))
        assert.strictEqual(last, "filter 1.0.0 with 1.0.0")
        yield* stop(child)
      }))

    it.effect("by the settings of the MTA: sessions end where they began", () =>
      Effect.gen(function*() {
        const { place, postfix } = yield* Fixture
        const one = yield* serve(place, Path.join(place, "1.0.0"), "one")
        yield* postfix.reconfigure({ smtpd_milters: socketOf(place, "one") })
        const two = yield* serve(place, Path.join(place, "2.0.0"), "two")
        const use = (name: string) => postfix.reconfigure({ smtpd_milters: socketOf(place, name) })
        const { last, putOff } = yield* underTraffic("moved", use("two"), use("one"))
        assert.strictEqual(putOff, 0)
        assert.strictEqual(last, "filter 1.0.0 with 1.0.0")
        assert.match(status(place, "one"), /version 1\.0\.0[^]*messages: accepted/)
        assert.match(status(place, "two"), /version 2\.0\.0[^]*messages: accepted/)
        yield* stop(two)
        yield* stop(one)
      }))
  })
})
