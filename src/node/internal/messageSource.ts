/** A message as `smtp-server` hands it over: a stream that is read as far as it is wanted. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import { ByteString } from "../../internal/bytes/byteString.ts"
import { type Arrived, ArrivingHeader } from "../../internal/mail/arrivingHeader.ts"
import type { Reply } from "../../Reply.ts"

/** A message that did not come, or is not taken; the reply reaches the client only if it is still there. */
export class NotReceived {
  readonly _tag = "NotReceived"
  readonly reply: Reply

  constructor(reply: Reply) {
    this.reply = reply
  }
}

export const isNotReceived = (error: unknown): error is NotReceived => error instanceof NotReceived

const replyOf = (code: string, enhanced: string, text: string): Reply => ({
  code,
  enhanced,
  lines: [ByteString.fromText(text)]
})

/** Most bytes of a header. The MTAs take less: Postfix 100 kB of a field, Sendmail 32 kB of all. */
const longestHeader = 1_048_576

const tooLarge = new NotReceived(replyOf("552", "5.3.4", "Message too big"))
const headerTooLarge = new NotReceived(replyOf("552", "5.3.4", "Message header too big"))
const brokenOff = new NotReceived(replyOf("451", "4.3.0", "The message broke off"))

export class MessageSource {
  private readonly stream: AsyncIterable<unknown>
  private readonly iterator: AsyncIterator<unknown>
  private header: Arrived | undefined

  constructor(stream: AsyncIterable<unknown>) {
    this.stream = stream
    // Its `return` would destroy the stream, and with it what smtp-server has to answer.
    this.iterator = stream[Symbol.asyncIterator]()
  }

  /** The header, once it has come. To be read before the body. */
  readonly headers: Effect.Effect<Arrived["headers"], NotReceived> = Effect.suspend(() =>
    Effect.gen({ self: this }, function*() {
      const reader = new ArrivingHeader()
      while (this.header === undefined) {
        const piece = yield* this.next
        this.header = piece === undefined ? reader.end() : reader.push(piece)
        if (reader.length > longestHeader && this.header === undefined) return yield* Effect.fail(headerTooLarge)
      }
      return this.header.headers
    })
  )

  /** The body; a piece is read when the one before it was taken. */
  readonly body: Stream.Stream<Uint8Array, NotReceived> = Stream.fromPull(Effect.sync(() => {
    let rest = this.header?.rest
    return Effect.suspend((): Pull.Pull<readonly [Uint8Array], NotReceived> => {
      if (rest !== undefined && rest.length > 0) {
        const first = rest
        rest = undefined
        return Effect.succeed([first] as const)
      }
      return Effect.flatMap(
        this.next,
        (piece) => piece === undefined ? Cause.done() : Effect.succeed([piece] as const)
      )
    })
  }))

  /** Reads to the end and forgets it. */
  readonly drain: Effect.Effect<void> = Effect.promise(async () => {
    try {
      while ((await this.iterator.next()).done !== true) { /* nobody wants it */ }
    } catch {
      // The client has gone.
    }
  })

  private get next(): Effect.Effect<Uint8Array | undefined, NotReceived> {
    return Effect.flatMap(
      Effect.tryPromise({ try: () => this.iterator.next(), catch: () => brokenOff }),
      ({ done, value }) => {
        // smtp-server notes that a message is too long while it comes, and goes on.
        if ("sizeExceeded" in this.stream && this.stream.sizeExceeded === true) return Effect.fail(tooLarge)
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- smtp-server gives pieces of bytes
        return Effect.succeed(done === true ? undefined : value as Uint8Array)
      }
    )
  }
}
