import * as Data from "effect/Data"

/**
 * The MTA does not carry out these modifications; it answers the client with `reply` instead.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeliveryError extends Data.TaggedError("DeliveryError")<{
  readonly reason: string
  readonly reply: string
}> {
  override get message(): string {
    return `${this.reason}; the MTA answers ${this.reply}`
  }
}
