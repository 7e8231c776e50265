/** What `serve --watch` looks at: the files that a worker has loaded. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Module from "node:module"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

const loaded = new Set<string>()

/** Notes each file that this process loads from now on, but those of packages. */
export const collect: Effect.Effect<void> = Effect.sync(() => {
  Module.registerHooks({
    load: (url, context, next) => {
      if (url.startsWith("file:")) {
        const path = fileURLToPath(url)
        if (!path.split(Path.sep).includes("node_modules")) loaded.add(path)
      }
      return next(url, context)
    }
  })
})

export const collected = (): ReadonlyArray<string> => [...loaded]

// Editors write a file in several steps, and several files at a time.
const quiet = 200

/** Watches files, and files that are added to them, until the scope closes. */
export const watcher = (
  onChange: (file: string) => void
): Effect.Effect<(files: ReadonlyArray<string>) => void, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => ({
        directories: new Map<string, Fs.FSWatcher>(),
        timer: undefined as NodeJS.Timeout | undefined
      })),
      ({ directories, timer }) =>
        Effect.sync(() => {
          clearTimeout(timer)
          for (const watching of directories.values()) watching.close()
        })
    ),
    (state) => {
      const files = new Set<string>()
      const changed = (file: string): void => {
        if (!files.has(file)) return
        clearTimeout(state.timer)
        state.timer = setTimeout(() => onChange(file), quiet)
      }
      return (added) => {
        for (const file of added) {
          files.add(file)
          const directory = Path.dirname(file)
          if (state.directories.has(directory)) continue
          // The directory and not the file: editors put a new file in the place of the old one.
          const watching = Fs.watch(directory, (_, name) => name !== null && changed(Path.join(directory, name)))
          watching.on("error", () => watching.close())
          state.directories.set(directory, watching)
        }
      }
    }
  )
