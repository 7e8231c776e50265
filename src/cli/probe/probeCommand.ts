/** `effect-milter probe`: asks a milter what it wants, and prints its declaration. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as MilterClient from "../../MilterClient.ts"
import { layer as dialer } from "../../node/NodeMilterClient.ts"
import * as specs from "../flags/specs.ts"
import * as clientTrouble from "../trouble/clientTrouble.ts"
import { declarationOf } from "./declaration.ts"

const run = (address: string) =>
  Effect.gen(function*() {
    const milter = yield* MilterClient.dial(address)
    const agreed = yield* milter.negotiate()
    yield* Effect.ignore(milter.quit())
    yield* Effect.sync(() => void process.stdout.write(declarationOf(address, agreed)))
  }).pipe(
    Effect.scoped,
    Effect.provide(dialer),
    Effect.mapError((error) => clientTrouble.explain(error, "SPEC"))
  )

export const probe = Command.make(
  "probe",
  { spec: specs.filterArgument("SPEC").pipe(Argument.withDescription("Where the milter listens")) },
  ({ spec }) => run(spec)
).pipe(
  Command.withDescription(
    "Negotiates with a milter as an MTA that offers everything, and prints what it wants as the declaration for " +
      "Milter.remote. Sends no mail"
  ),
  Command.withShortDescription("Asks a milter what it wants and prints the declaration for Milter.remote"),
  Command.withExamples([{ command: "effect-milter probe unix:/run/opendkim/opendkim.sock" }])
)
