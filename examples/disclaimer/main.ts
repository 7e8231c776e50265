/** The command: serves the filter with the disclaimers of a file. */
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import * as command from "../support/command.ts"
import * as flags from "../support/flags.ts"
import { parse } from "./disclaimers.ts"
import { disclaimer } from "./filter.ts"

command.run({
  name: "disclaimer",
  description: "Puts the disclaimer of the sender's domain at the end of each message",
  options: {
    disclaimers: Flag.String("disclaimers").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("A file in JSON: for each domain, or *, a text and perhaps an html")
    ),
    id: flags.identifier("id", "disclaimer").pipe(
      Flag.withDescription("Marks the disclaimer, so that a message has it once (disclaimer)")
    ),
    besideSigned: Flag.Boolean("beside-signed").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Put it beside signed and encrypted content too, in a part of its own")
    )
  },
  serve: ({ besideSigned, disclaimers: file, id }) =>
    Layer.unwrap(Effect.gen(function*() {
      const json = yield* Effect.try({
        try: () => Fs.readFileSync(file, "utf8"),
        catch: (cause) => new command.Trouble({ message: `cannot read ${file}: ${String(cause)}` })
      })
      const disclaimers = yield* Effect.mapError(
        parse(json),
        ({ message }) => new command.Trouble({ message: `${file}: ${message}` })
      )
      return MilterServer.layerConfig(disclaimer({ disclaimers, id, besideSigned }))
    }))
})
