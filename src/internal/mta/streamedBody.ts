/** The body of a message that is still arriving, kept for the filters after the first one and for delivery. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import { concat } from "../bytes/concat.ts"
import { LineEnds } from "../bytes/lineEnds.ts"
import type { Spool } from "../bytes/spool.ts"
import { maxPayload } from "../wire/maxPayload.ts"

/** The stream of the body failed. Not the failure of a filter, so that no policy decides about it. */
export class SourceFailure<E> {
  readonly _tag = "SourceFailure"
  readonly cause: Cause.Cause<E>

  constructor(cause: Cause.Cause<E>) {
    this.cause = cause
  }
}

type Source<E> = Pull.Pull<ReadonlyArray<Uint8Array>, E>

export class StreamedBody<E> {
  private readonly source: Source<E>
  private readonly spool: Spool
  private readonly lines = new LineEnds()
  private isComplete = false

  /** The spool is closed by whoever has made it. */
  constructor(source: Source<E>, spool: Spool) {
    this.source = source
    this.spool = spool
  }

  /** In bytes, as far as it has arrived. */
  get length(): number {
    return this.spool.length
  }

  /** From its first byte on: what has arrived, then what arrives, each piece as soon as the last one was taken. */
  get pieces(): Stream.Stream<Uint8Array, SourceFailure<E>> {
    return readFrom(this.spool, () => this.next)
  }

  /** As far as it has arrived. */
  get kept(): Stream.Stream<Uint8Array> {
    return readFrom(this.spool, () => nothingMore)
  }

  /** Takes what has not arrived yet. */
  get rest(): Effect.Effect<void, SourceFailure<E>> {
    return Effect.suspend(() =>
      Effect.gen({ self: this }, function*() {
        while ((yield* this.next) !== undefined) { /* it is kept */ }
      })
    )
  }

  /** The next bytes to arrive, once they are kept; undefined at the end. */
  private get next(): Effect.Effect<Uint8Array | undefined, SourceFailure<E>> {
    return Effect.suspend(() => {
      if (this.isComplete) return nothingMore
      return Pull.matchEffect(this.source, {
        onSuccess: (pieces) => this.keep(this.lines.next(concat(pieces))),
        onFailure: (cause) => Effect.fail(new SourceFailure(cause)),
        onDone: () => {
          this.isComplete = true
          return this.keep(this.lines.end)
        }
      })
    })
  }

  private keep(bytes: Uint8Array): Effect.Effect<Uint8Array> {
    return Effect.as(this.spool.append(bytes), bytes)
  }
}

const nothingMore: Effect.Effect<undefined> = Effect.undefined

/** Reads what the spool holds, then what `next` gives, which is in the spool as well by then. */
const readFrom = <E>(
  spool: Spool,
  next: () => Effect.Effect<Uint8Array | undefined, E>
): Stream.Stream<Uint8Array, E> =>
  Stream.fromPull(Effect.sync(() => {
    let at = 0
    return Effect.suspend((): Pull.Pull<readonly [Uint8Array], E> =>
      Effect.flatMap(
        at < spool.length ? spool.read(at, maxPayload) : next(),
        (bytes) => {
          if (bytes === undefined) return Cause.done()
          at += bytes.length
          return Effect.succeed([bytes] as const)
        }
      )
    )
  }))
