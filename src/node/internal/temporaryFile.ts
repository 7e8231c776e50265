import * as Effect from "effect/Effect"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import type { OpenFile, TemporaryFile } from "../../internal/spool.ts"

/** A file in the system's temporary directory that has no name any more: it goes with its last user. */
export const open: OpenFile = Effect.promise(async (): Promise<TemporaryFile> => {
  const directory = await Fs.mkdtemp(Path.join(Os.tmpdir(), "effect-milter-"))
  const file = await Fs.open(Path.join(directory, "body"), "wx+", 0o600)
  await Fs.rm(directory, { recursive: true })
  return {
    append: (bytes) => Effect.promise(() => file.appendFile(bytes)),
    read: (position, length) =>
      Effect.promise(async () => {
        const bytes = new Uint8Array(length)
        await file.read(bytes, 0, length, position)
        return bytes
      }),
    close: Effect.promise(() => file.close())
  }
})
