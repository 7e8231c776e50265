/** `effect-milter serve --check`: everything that a start would do, in memory, and what each MTA would agree on. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as MilterClient from "../../MilterClient.ts"
import type * as MilterServer from "../../MilterServer.ts"
import * as MilterTest from "../../MilterTest.ts"
import { mtas } from "../messages/messageFlags.ts"
import * as exit from "../trouble/exit.ts"

/** Builds the server on a listener in memory, negotiates as each MTA, and runs `then` with it. */
export const check = <A, E, R>(
  file: string,
  server: Layer.Layer<never, unknown, MilterServer.Listener>,
  then: Effect.Effect<A, E, R | MilterClient.Dialer>
) =>
  Effect.gen(function*() {
    const network = yield* Layer.build(MilterTest.layer)
    yield* Layer.build(Layer.provide(server, Layer.succeedContext(network)))
    return yield* Effect.provideContext(
      Effect.gen(function*() {
        const refused: Array<string> = []
        for (const [name, as] of Object.entries(mtas)) {
          const agreed = yield* Effect.result(Effect.scoped(
            Effect.flatMap(MilterClient.dial(MilterTest.address, { as }), (filter) => filter.negotiate())
          ))
          if (Result.isFailure(agreed)) refused.push(`${name}: ${exit.lineOf(agreed.failure)}`)
        }
        if (refused.length === Object.keys(mtas).length) {
          return yield* exit.trouble(`${file} agrees with no MTA: ${refused[0]}`)
        }
        for (const line of refused) process.stderr.write(`effect-milter: ${file} does not agree with ${line}\n`)
        return yield* then
      }),
      network
    )
  }).pipe(Effect.scoped)
