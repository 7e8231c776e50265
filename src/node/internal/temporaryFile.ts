/** Temporary files for large bodies. */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import type { OpenFile, TemporaryFile } from "../../internal/bytes/spool.ts"

/** A file in the system's temporary directory without a name: it is removed when it is closed. */
export const open: OpenFile = Effect.promise(async (): Promise<TemporaryFile> => {
  const directory = await Fs.mkdtemp(Path.join(Os.tmpdir(), "effect-milter-"))
  try {
    return opened(await Fs.open(Path.join(directory, "body"), "wx+", 0o600))
  } finally {
    // Also if the file could not be opened, for instance without a free descriptor.
    await Fs.rm(directory, { recursive: true })
  }
})

const opened = (file: Fs.FileHandle): TemporaryFile => ({
  append: (bytes) => Effect.promise(() => file.appendFile(bytes)),
  read: (position, length) =>
    Effect.promise(async () => {
      const bytes = new Uint8Array(length)
      for (let filled = 0; filled < length;) {
        const { bytesRead } = await file.read(bytes, filled, length - filled, position + filled)
        // What is missing would go out as zeros.
        if (bytesRead === 0) {
          throw new Error(`a temporary file ends at ${position + filled}, before ${position + length}`)
        }
        filled += bytesRead
      }
      return bytes
    }),
  close: Effect.promise(() => file.close())
})
