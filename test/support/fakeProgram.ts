/** A shell script in the place of a program that this machine may have in another version, or not at all. */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Listeners from "./listeners.ts"

/** Makes a directory for PATH in which the program is this script. */
export const fakeProgram = Effect.fnUntraced(function*(name: string, script: string) {
  const directory = yield* Listeners.directory
  Fs.writeFileSync(Path.join(directory, name), `#!/bin/sh\n${script}\n`)
  Fs.chmodSync(Path.join(directory, name), 0o755)
  return directory
})
