/** The file that a recording is written to. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Recording from "../../Recording.ts"
import * as exit from "../trouble/exit.ts"

export interface RecordingFile {
  readonly write: (line: string) => void
  /** The highest number of a connection in it. */
  readonly connections: number
}

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDWR } = Fs.constants

const codeOf = (error: unknown): unknown => error instanceof Error && "code" in error ? error.code : undefined

const cannotOpen = (path: string) => (error: unknown): exit.Trouble =>
  codeOf(error) === "EEXIST"
    ? exit.trouble(`${path} exists: remove it, give --record another file, or add to it with --append`)
    : codeOf(error) === "ELOOP"
    ? exit.trouble(`${path} is a link: give --record the file itself`)
    : exit.trouble(`cannot write ${path}: give --record a file in a directory that you may write to`)

/** The connections of a recording that is there already. */
const connectionsIn = (path: string, descriptor: number): Result.Result<number, exit.Trouble> => {
  const text = Fs.readFileSync(descriptor, "utf8")
  if (text !== "" && !text.endsWith("\n")) {
    return Result.fail(
      exit.trouble(`the last line of ${path} is not complete: remove it, or give --record another file`)
    )
  }
  return Result.mapBoth(Recording.parse(text), {
    onSuccess: (lines) =>
      lines.reduce((most, line) => line._tag === "Description" ? most : Math.max(most, line.connection), 0),
    onFailure: (error) =>
      exit.trouble(`${path} is no recording, or is damaged: ${exit.lineOf(error)}; give --record another file`)
  })
}

/**
 * Opens the file until the scope closes. `onFailure` is called once, if a line cannot be written. A recording holds mail:
 * only its owner may read it, and links are not followed.
 */
export const open = Effect.fnUntraced(function*(
  path: string,
  append: boolean,
  onFailure: (trouble: exit.Trouble) => void
) {
  const descriptor = yield* Effect.acquireRelease(
    Effect.try({
      try: () => Fs.openSync(path, append ? O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW : "wx", 0o600),
      catch: cannotOpen(path)
    }),
    (descriptor) => Effect.sync(() => Fs.closeSync(descriptor))
  )
  const connections = append ? yield* Effect.fromResult(connectionsIn(path, descriptor)) : 0
  let hasFailed = false
  const file: RecordingFile = {
    connections,
    write: (line) => {
      if (hasFailed) return
      try {
        Fs.writeSync(descriptor, `${line}\n`)
      } catch (error) {
        hasFailed = true
        onFailure(exit.trouble(`the recording ends here, and so does the trace: ${exit.lineOf(error)}`))
      }
    }
  }
  return file
})
