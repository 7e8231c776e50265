/** What is opened and closed in the scopes of a filter, in which order and with which exits. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { TemporaryFile } from "../../src/internal/bytes/spool.ts"

export type Kind = "connection" | "message"

/** One scope of one filter, of a connection or of a message. */
export interface Entry<Owner> {
  readonly filter: number
  readonly kind: Kind
  readonly session: string
  /** Whatever it was opened for. */
  readonly owner: Owner
  /** Its resources that are not closed, in the order of their opening. */
  readonly open: Array<number>
  /** How many hooks run in it. */
  running: number
  /** What its finalizers are told. */
  exit: Exit.Exit<unknown, unknown> | undefined
  /** What its hooks and its builder failed with. */
  readonly failures: Array<{ readonly at: string; readonly error: unknown }>
  /** Whether a hook or its builder was interrupted. */
  cut: boolean
}

export const make = <Owner>(owner: () => Owner) => {
  const entries = new Map<Scope.Scope, Entry<Owner>>()
  /** What was not in order. */
  const wrong: Array<string> = []
  const counts = { hooks: 0, hooksEnded: 0, opened: 0, closed: 0, filesOpened: 0, filesClosed: 0 }
  /** Milliseconds that finalizers of scopes have taken. */
  const time = { finalizers: 0 }

  const entryOf = (filter: number, kind: Kind, session: string) =>
    Effect.map(Effect.scope, (scope) => {
      let entry = entries.get(scope)
      if (entry === undefined) {
        entry = {
          filter,
          kind,
          session,
          owner: owner(),
          open: [],
          running: 0,
          exit: undefined,
          failures: [],
          cut: false
        }
        entries.set(scope, entry)
      }
      if (entry.filter !== filter || entry.kind !== kind || entry.session !== session) {
        wrong.push(`the scope of another ${kind}`)
      }
      return entry
    })

  const closing = (entry: Entry<Owner>, id: number, exit: Exit.Exit<unknown, unknown>): void => {
    const { filter, kind, session } = entry
    counts.closed++
    if (entry.open.pop() !== id) wrong.push(`a ${kind} closes twice, or not in reverse order`)
    if (entry.exit !== undefined && entry.exit !== exit) wrong.push(`a ${kind} has two exits`)
    entry.exit = exit
    if (entry.running > 0) wrong.push(`a ${kind} closes while its hook runs`)
    for (const other of entries.values()) {
      if (other.session !== session || (other.open.length === 0 && other.running === 0)) continue
      if (other.kind === kind && other.filter > filter) wrong.push(`a ${kind} closes before that of a later filter`)
      if (other.kind === "message" && kind === "connection") wrong.push("a connection closes before its message")
    }
  }

  const of = (filter: number) => ({
    /** Opens something in the scope of the hook; `finalizer` belongs to its closing. */
    resource: (kind: Kind, session: string, finalizer: Effect.Effect<void>, milliseconds: number) =>
      Effect.flatMap(entryOf(filter, kind, session), (entry) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const id = ++counts.opened
            entry.open.push(id)
            return id
          }),
          (id, exit) =>
            Effect.suspend(() => {
              // It counts as open until it has ended.
              return Effect.ensuring(
                finalizer,
                Effect.sync(() => {
                  time.finalizers += milliseconds
                  closing(entry, id, exit)
                })
              )
            })
        )),
    /** Runs a hook or a builder, whose own finalizers are in `effect`. */
    inside: <A, E, R>(kind: Kind, session: string, at: string, effect: Effect.Effect<A, E, R>) =>
      // What is counted has a finalizer, whatever comes between two steps.
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(entryOf(filter, kind, session), (entry) => {
          counts.hooks++
          for (const other of entries.values()) {
            if (other.session === session && other.running > 0) wrong.push(`two hooks run at once, the second at ${at}`)
          }
          entry.running++
          return Effect.onExit(restore(effect), (exit) =>
            Effect.sync(() => {
              counts.hooksEnded++
              entry.running--
              if (Exit.isSuccess(exit)) return
              if (Cause.hasInterrupts(exit.cause)) entry.cut = true
              else entry.failures.push({ at, error: Cause.squash(exit.cause) })
            }))
        })
      )
  })

  return {
    entries: (): ReadonlyArray<Entry<Owner>> => Array.from(entries.values()),
    wrong,
    counts,
    time,
    /** What one of the filters does. */
    of,
    /** A file in memory. */
    openFile: Effect.sync((): TemporaryFile => {
      counts.filesOpened++
      const chunks: Array<Uint8Array> = []
      let closed = false
      const use = <A>(body: () => A) =>
        Effect.sync(() => {
          if (closed) wrong.push("a file is used after its closing")
          return body()
        })
      return {
        append: (bytes) => use(() => void chunks.push(bytes.slice())),
        read: (position, length) =>
          use(() => Uint8Array.from(Buffer.concat(chunks).subarray(position, position + length))),
        close: use(() => {
          closed = true
          counts.filesClosed++
        })
      }
    })
  }
}
