/**
 * A filter in a process of its own, which decides by the sender: see `Decision` in ../decidingFilter.ts. What it does with each
 * message is written to a journal, so that it survives the process.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import type { Setup } from "../decidingFilter.ts"

const setup: Setup = JSON.parse(process.argv[2] ?? "")

// As with a module: it is read once, when a process starts.
const code = setup.code === undefined ? undefined : Fs.readFileSync(setup.code, "utf8")

const journal = (event: string, sender: string) =>
  Effect.sync(() => {
    if (setup.journal !== undefined) Fs.appendFileSync(setup.journal, `${event} ${sender}\n`)
  })

const refusal = (sender: string) => Verdict.reject({ code: "550", enhanced: "5.7.1", text: `refused: ${sender}` })

const filter = Milter.make("deciding", {
  modify: ["addHeader"],
  message: ({ sender }) =>
    Effect.andThen(
      Effect.addFinalizer((exit) =>
        journal(
          Option.match(Milter.outcome(exit), { onNone: () => "GivenUp", onSome: ({ _tag }) => _tag }),
          sender.address
        )
      ),
      journal("Begins", sender.address)
    )
}).on({
  mail: ({ sender }) =>
    Effect.succeed(sender.localPart.startsWith("early") ? refusal(sender.address) : Verdict.continue),
  body: (_, { envelope }) =>
    envelope.sender.localPart.startsWith("hang")
      ? Effect.andThen(Effect.log(`hangs at the body of ${envelope.sender.address}`), Effect.never)
      : Effect.succeed(Verdict.continue),
  endOfMessage: Effect.fnUntraced(function*(_, { edit, envelope }) {
    const { address, localPart } = envelope.sender
    yield* Effect.sleep(setup.milliseconds)
    yield* edit.addHeader("X-Filtered", address === "" ? "bounce" : address)
    if (code !== undefined) yield* edit.addHeader("X-Code", code)
    if (localPart.startsWith("late")) return refusal(address)
    if (localPart.startsWith("swallow")) return Verdict.discardMessage
    return Verdict.continue
  })
})

const where = { listen: setup.listen, mode: 0o666 }

const main = setup.workers === undefined
  ? MilterServer.layer(filter).pipe(Layer.provide(NodeMilterServer.layer(where)), Layer.launch)
  : NodeMilterServer.workers(MilterServer.layer(filter), { ...where, workers: setup.workers })

NodeRuntime.runMain(main, { teardown: NodeMilterServer.teardown })
