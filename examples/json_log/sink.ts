/** Where the lines of the log go, without anybody who waits for it. */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"

/** Takes lines. */
export class Sink extends Context.Service<Sink, {
  readonly write: (line: string) => Effect.Effect<void>
}>()("examples/json_log/Sink") {}

/** The log cannot be written. */
export class CannotWrite extends Data.TaggedError("CannotWrite")<{ readonly where: string; readonly cause: Error }> {
  override get message(): string {
    // What the system says is inside what Effect says.
    const { cause, where } = this
    return `cannot write to ${where}: ${cause.cause instanceof Error ? cause.cause.message : cause.message}`
  }
}

// More than a disk that hangs for a while lets pile up; 10 MB or so.
const capacity = 10_000

/**
 * Lines wait in a queue and are written together. When it is full, or they cannot be written, they are lost, which the
 * program's own log tells: mail goes first. What waits at the end is written before the layer is gone.
 */
const layer = <E extends Error>(where: string, append: (text: string) => Effect.Effect<void, E>) =>
  Layer.effect(
    Sink,
    Effect.gen(function*() {
      const failed = (cause: Error) => new CannotWrite({ where, cause })
      // Better now than at the first message.
      yield* Effect.mapError(append(""), failed)
      const queue = yield* Queue.dropping<string, Cause.Done>(capacity)
      let lost = 0
      const write = (lines: ReadonlyArray<string>) =>
        Effect.gen(function*() {
          yield* append(`${lines.join("\n")}\n`)
          if (lost > 0) yield* Effect.logWarning(`${lost} lines of the log are lost`)
          lost = 0
        }).pipe(Effect.catch((error) => {
          lost += lines.length
          return Effect.logWarning(failed(error).message)
        }))
      yield* Effect.acquireRelease(
        Effect.forkDetach(Stream.runForEachArray(Stream.fromQueue(queue), write)),
        (fiber) => Effect.andThen(Queue.end(queue), Fiber.await(fiber))
      )
      return {
        write: (line) =>
          Effect.map(Queue.offer(queue, line), (isTaken) => {
            if (!isTaken) lost++
          })
      }
    })
  )

/** Appends to a file, which is opened for each write: one that was renamed or removed is begun anew. */
export const layerFile = (path: string) =>
  Layer.unwrap(Effect.map(
    FileSystem.FileSystem,
    (files) => layer(path, (text) => files.writeFileString(path, text, { flag: "a", mode: 0o640 }))
  ))

/** Writes to standard output. */
export const layerStdout = Layer.suspend(() => {
  // A reader that has gone is told by each write; without a listener it would end the process.
  process.stdout.on("error", () => undefined)
  return layer("standard output", (text) =>
    Effect.callback<void, Error>((resume) => {
      process.stdout.write(text, (error) => resume(error ? Effect.fail(error) : Effect.void))
    }))
})
