/** Guesses sender and recipients of a message from its header. */
import { ByteString } from "../../internal/bytes/byteString.ts"
import * as addresses from "../../internal/mail/addresses.ts"
import { mailboxes } from "../../Message.ts"
import type { RawMessage } from "../../RawMessage.ts"

/** The addresses in the fields of a name, in order. */
export const addressesIn = ({ headers }: RawMessage, name: string): ReadonlyArray<string> =>
  headers.filter(([field]) => field.toLowerCase() === name).flatMap(([, value]) =>
    mailboxes(addresses.read(typeof value === "string" ? ByteString.fromText(value) : ByteString.fromBytes(value)))
      .map(({ address }) => address)
  )
