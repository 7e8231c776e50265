/** The messages that `send` and `test` are given: files, mailbox files, Maildirs and other directories. */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as exit from "../trouble/exit.ts"
import { isMbox, messages } from "./mbox.ts"

/** A message as it was read. */
export interface Found {
  /** The file, and in a mailbox file the number of the message: `archive.mbox:3`. */
  readonly name: string
  readonly bytes: Uint8Array
  /** The bytes of all files so far. */
  readonly position: number
}

const chunkSize = 65_536

/** A file's content, in a buffer that is used again. */
function* chunksOf(descriptor: number): Generator<Buffer> {
  const buffer = Buffer.alloc(chunkSize)
  for (;;) {
    const length = Fs.readSync(descriptor, buffer)
    if (length === 0) return
    yield buffer.subarray(0, length)
  }
}

const codeOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null && "code" in error ? error.code : undefined

const unreadable = (path: string, error: unknown): exit.Trouble =>
  codeOf(error) === "ENOENT"
    ? exit.trouble(
      `cannot read ${path}: there is no such file; give a message, a mailbox, a directory, or - for standard input`
    )
    : codeOf(error) === "EACCES"
    ? exit.trouble(`cannot read ${path}: no permission; become its owner or root`)
    : exit.trouble(`cannot read ${path}: ${exit.lineOf(error)}`)

/** The files of a directory, in order: the messages of a Maildir, or all that are not hidden. */
const filesIn = (directory: string): ReadonlyArray<string> => {
  const isMaildir = ["cur", "new"].every((name) =>
    Fs.statSync(Path.join(directory, name), { throwIfNoEntry: false })?.isDirectory()
  )
  const folders = isMaildir ? [Path.join(directory, "new"), Path.join(directory, "cur")] : [directory]
  return folders.flatMap((folder) =>
    Fs.readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
      .map((entry) => Path.join(folder, entry.name)).toSorted()
  )
}

const read = <A>(path: string, from: () => A): Result.Result<A, exit.Trouble> =>
  Result.try({ try: from, catch: (error) => unreadable(path, error) })

/** The files that these paths mean, with their sizes. `-` stays. */
export const filesOf = (
  paths: ReadonlyArray<string>
): Result.Result<ReadonlyArray<{ readonly path: string; readonly size: number }>, exit.Trouble> => {
  const files: Array<{ readonly path: string; readonly size: number }> = []
  for (const path of paths) {
    if (path === "-") {
      files.push({ path, size: 0 })
      continue
    }
    const found = read(path, () => {
      const stats = Fs.statSync(path)
      return stats.isDirectory()
        ? filesIn(path).map((path) => ({ path, size: Fs.statSync(path).size }))
        : [{ path, size: stats.size }]
    })
    if (Result.isFailure(found)) return Result.fail(found.failure)
    if (found.success.length === 0) {
      return Result.fail(exit.trouble(`there is no message in ${path}: give another directory`))
    }
    // Not spread: a Maildir may have more files than the stack takes.
    for (const file of found.success) files.push(file)
  }
  return Result.succeed(files)
}

/** The messages of these files, one after the other; `stdin` is what `-` stands for. Ends at a file that cannot be read. */
export function* messagesOf(
  files: ReadonlyArray<{ readonly path: string; readonly size: number }>,
  stdin: Uint8Array
): Generator<Result.Result<Found, exit.Trouble>> {
  let before = 0
  for (const { path, size } of files) {
    try {
      for (const found of messagesIn(path, stdin, before)) yield Result.succeed(found)
    } catch (error) {
      return yield Result.fail(unreadable(path, error))
    }
    before += size
  }
}

function* messagesIn(path: string, stdin: Uint8Array, before: number): Generator<Found> {
  if (path === "-") return yield* messagesFrom("standard input", [Buffer.from(stdin)], before)
  const descriptor = Fs.openSync(path, "r")
  try {
    yield* messagesFrom(path, chunksOf(descriptor), before)
  } finally {
    Fs.closeSync(descriptor)
  }
}

function* messagesFrom(name: string, chunks: Iterable<Buffer>, before: number): Generator<Found> {
  const iterator = chunks[Symbol.iterator]()
  const first = iterator.next()
  const start: Buffer = first.done === true ? Buffer.alloc(0) : Buffer.from(first.value)
  let position = before + start.length
  const counted = function*(): Generator<Buffer> {
    yield start
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
      position += next.value.length
      yield next.value
    }
  }
  if (!isMbox(start)) {
    const bytes = Buffer.concat(Array.from(counted(), (chunk) => Buffer.from(chunk)))
    return yield { name, bytes, position }
  }
  let number = 0
  for (const bytes of messages(counted())) yield { name: `${name}:${++number}`, bytes, position }
}
