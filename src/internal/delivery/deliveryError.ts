/** The error of modifications that an MTA does not carry out. Re-exported by `Delivery`. */
import * as Data from "effect/Data"

/**
 * The MTA does not carry out the modifications. It answers the SMTP client with `reply` instead; `reply` is empty if the MTA
 * crashes and the client's connection just ends.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeliveryError extends Data.TaggedError("DeliveryError")<{
  readonly reason: string
  readonly reply: string
}> {
  override get message(): string {
    return `${this.reason}; the MTA ${this.reply === "" ? "ends the connection" : `answers ${this.reply}`}`
  }
}
