/** Several processes that serve one socket, while mail flows through a real Postfix: they are killed, and they are replaced. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Postfix from "../../testbed/postfix.ts"
import { directory } from "../support/listeners.ts"
import { become } from "../support/workersProcess.ts"
import * as DecidingFilter from "./support/decidingFilter.ts"
import { deliveredOf, numbered, send } from "./support/persistentSender.ts"

class Fixture extends Context.Service<Fixture, {
  readonly setup: DecidingFilter.Setup & { readonly code: string }
  readonly postfix: Postfix.Instance
}>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const path = yield* directory
    const setup = {
      listen: `unix:${Path.join(path, "deciding.sock")}`,
      milliseconds: 20,
      workers: 2,
      code: Path.join(path, "code")
    }
    const postfix = yield* Postfix.make<string>({
      milters: setup.listen,
      mainCf: { milter_default_action: "tempfail" }
    })
    return { postfix, setup }
  })
)

/** The workers of a supervisor. */
const workersOf = (pid: number): ReadonlyArray<number> =>
  Fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter((word) => word !== "").map(Number)

const filteredAs = (mail: Postfix.Delivered): string => Postfix.headerValues(mail, "X-Filtered").join()

Postfix.describePostfix("workers with Postfix", () => {
  layer(fixture, { excludeTestServices: true, timeout: "1 minute" })((it) => {
    it.effect("are killed one after another: no message is lost, and none is unfiltered", () =>
      Effect.gen(function*() {
        const { postfix, setup } = yield* Fixture
        Fs.writeFileSync(setup.code, "killed")
        const filter = yield* DecidingFilter.start(setup)
        const senders = numbered("killed", 400)
        const sending = yield* Effect.forkChild(send(postfix.port, senders, 10))
        let killed = 0
        while (sending.pollUnsafe() === undefined) {
          yield* Effect.sleep(400)
          const [oldest] = workersOf(filter.process.pid!)
          // Under load there are always two, one of them young.
          if (oldest === undefined || killed === 8) continue
          process.kill(oldest, "SIGKILL")
          killed++
        }
        const { refused } = yield* Fiber.join(sending)
        const delivered = yield* deliveredOf(postfix, "killed-")
        assert.isAbove(killed, 2)
        assert.deepStrictEqual(refused, [])
        assert.deepStrictEqual(delivered.map(({ sender }) => sender).toSorted(), senders.toSorted())
        for (const mail of delivered) assert.strictEqual(filteredAs(mail), mail.sender)
        yield* filter.signal("SIGTERM")
        assert.strictEqual(yield* filter.exit, 0)
      }), 300_000)

    it.effect("are replaced: no session is dropped, and the old code goes", () =>
      Effect.gen(function*() {
        const { postfix, setup } = yield* Fixture
        Fs.writeFileSync(setup.code, "1")
        const filter = yield* DecidingFilter.start(setup)
        const first = workersOf(filter.process.pid!)
        const senders = numbered("replaced", 400)
        const sending = yield* Effect.forkChild(send(postfix.port, senders, 10))
        for (const code of [2, 3]) {
          become(setup.code, String(code))
          yield* filter.signal("SIGHUP")
          yield* filter.shows(new RegExp(`(?:the workers have been replaced[^]*){${code - 1}}`))
        }
        const { putOff, refused } = yield* Fiber.join(sending)
        const delivered = yield* deliveredOf(postfix, "replaced-")
        assert.deepStrictEqual({ putOff, refused }, { putOff: 0, refused: [] })
        assert.deepStrictEqual(delivered.map(({ sender }) => sender).toSorted(), senders.toSorted())
        const codes = new Set(delivered.flatMap((mail) => Postfix.headerValues(mail, "X-Code")))
        assert.includeMembers(["1", "2", "3"], [...codes])
        // It has seen both, or nothing was under load.
        assert.isAbove(codes.size, 1)

        yield* send(postfix.port, ["last@example.org"], 1)
        const [last] = yield* deliveredOf(postfix, "last@")
        assert.deepStrictEqual(Postfix.headerValues(last!, "X-Code"), ["3"])
        while (first.some((pid) => Fs.existsSync(`/proc/${pid}`))) yield* Effect.sleep(50)
        yield* filter.signal("SIGTERM")
        assert.strictEqual(yield* filter.exit, 0)
      }), 300_000)
  })
})
