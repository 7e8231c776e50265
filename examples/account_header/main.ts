/** The command: serves the filter with its keys, or decrypts the value of a field. */
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as MilterServer from "effect-milter/MilterServer"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as command from "../support/command.ts"
import * as flags from "../support/flags.ts"
import { accountHeader, defaultName } from "./filter.ts"
import { read } from "./reading.ts"
import { Sealing } from "./sealing.ts"

const options = {
  headername: flags.fieldName("headername", defaultName).pipe(
    Flag.withDescription(`The name of the field (${defaultName})`)
  ),
  keys: Flag.String("keys").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("A file with one ID:KEY on each line, the newest last; or have them in MILTER_ACCOUNT_KEYS"),
    Flag.optional
  )
}

/** From the file if one is given, otherwise from the environment. */
const readKeys = Effect.fnUntraced(function*(file: Option.Option<string>) {
  if (Option.isNone(file)) {
    const keys = yield* Config.option(Config.Redacted("MILTER_ACCOUNT_KEYS"))
    if (Option.isSome(keys)) return keys.value
    return yield* new command.Trouble({ message: "no keys: give --keys FILE or MILTER_ACCOUNT_KEYS" })
  }
  const fileSystem = yield* FileSystem.FileSystem
  return Redacted.make(
    yield* Effect.mapError(
      fileSystem.readFileString(file.value),
      ({ reason }) => new command.Trouble({ message: `the keys ${file.value} cannot be read: ${reason._tag}` })
    )
  )
})

const sealing = (given: { readonly headername: string; readonly keys: Option.Option<string> }) =>
  Layer.unwrap(Effect.map(readKeys(given.keys), (keys) => Sealing.layer(given.headername, keys))).pipe(
    Layer.provide([NodeCrypto.layer, NodeFileSystem.layer])
  )

const decrypt = Command.make(
  "decrypt",
  options,
  Effect.fnUntraced(function*(given) {
    const stdio = yield* Stdio.Stdio
    const input = yield* stdio.stdin.pipe(Stream.decodeText(), Stream.mkString)
    const { found, problems } = yield* Effect.provide(read(given.headername, input), sealing(given))
    for (const data of found) yield* Console.log(JSON.stringify(data))
    if (problems.length > 0) return yield* new command.Trouble({ message: problems.join("; ") })
  }, (_) => Effect.mapError(_, ({ message }) => new command.Trouble({ message })))
).pipe(
  Command.withDescription("Reads a message, or the value of the field, from standard input and prints what it says")
)

if (process.argv[2] === "decrypt") {
  process.argv.splice(2, 1)
  command.main(decrypt, Object.keys(options))
} else {
  command.run({
    name: "account_header",
    description: "Says in a header field of outgoing mail, encrypted, which account has sent it and from where; " +
      "`account_header decrypt` reads it",
    options,
    serve: (given) => MilterServer.layerConfig(accountHeader(given.headername)).pipe(Layer.provide(sealing(given)))
  })
}
