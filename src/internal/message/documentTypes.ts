/** Messages as documents, and the filters that read and edit them. Re-exported by `Message`. */
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Mailbox, Parameters } from "../../Envelope.ts"
import type { HeaderValue } from "../../Header.ts"
import type * as Milter from "../../Milter.ts"
import type { HeaderInput } from "../../Modification.ts"
import type { Mail, Rcpt, Session } from "../../Stage.ts"
import type * as Verdict from "../../Verdict.ts"
import type { Address, Group } from "../mail/addressTypes.ts"
import type { EditableMime, Mime } from "./mime/mimeTypes.ts"

/**
 * The header: fields in their order, without the MTA's own Received. Names are found in any case; `occurrence` counts the
 * fields of one name from 1, and is 1 if not given.
 *
 * @category models
 * @since 0.1.0
 */
export interface Headers {
  /** All fields as they are now, with their bytes. */
  readonly fields: ReadonlyArray<HeaderValue>
  /** A field with its bytes. */
  readonly field: (name: string, occurrence?: number) => HeaderValue | undefined
  /**
   * The value as people see it: on one line, encoded words (RFC 2047) decoded, without white space around. Read address
   * fields with {@link addresses} instead: once decoded, a comma in a name looks like one between addresses.
   */
  readonly get: (name: string, occurrence?: number) => string | undefined
  /** The values of all fields of this name. */
  readonly getAll: (name: string) => ReadonlyArray<string>
  /**
   * The addresses in all fields of this name, groups as groups; {@link mailboxes} opens them. RFC 5322 with its obsolete
   * forms; what is not in its grammar is read as far as an address stands free, and left out where it could be two things.
   */
  readonly addresses: (name: string) => ReadonlyArray<Address | Group>
  /** The date in a field, by default `Date`. `undefined` if the field is missing, or holds no date of RFC 5322. */
  readonly date: (name?: string) => DateTime.Utc | undefined
}

/**
 * The header, to be edited. Names and values are checked when the effect runs: one that cannot go into a message is a defect
 * `InvalidValue`. Text outside ASCII is encoded (RFC 2047) unless the message is SMTPUTF8, long lines are folded, and line
 * breaks may stand where a line is folded.
 *
 * A value is text, as `get` shows it: text that looks like an encoded word is encoded once more, so that it reads back as it
 * was given. Give bytes that must stay as they are, such as those of another field, as `{ raw }`.
 *
 * @category models
 * @since 0.1.0
 */
export interface EditableHeaders extends Headers {
  /** Gives the nth field of this name another value; without one, adds it at the end of the header. */
  readonly set: (name: string, value: HeaderInput, occurrence?: number) => Effect.Effect<void>
  /** Adds a field at the end of the header. */
  readonly append: (name: string, value: HeaderInput) => Effect.Effect<void>
  /** Adds a field above all others, directly below the MTA's own Received. */
  readonly prepend: (name: string, value: HeaderInput) => Effect.Effect<void>
  /** Removes the nth field of this name; without `occurrence` all of them. */
  readonly remove: (name: string, occurrence?: number) => Effect.Effect<void>
  /**
   * Gives the nth field of this name another one; without `occurrence` all of them. The bytes of the value stay. So does the
   * place on Postfix, and on Sendmail with the fields of the usual `sendmail.cf`; where the MTA is not known the field comes to
   * the top or the end of the header.
   */
  readonly rename: (from: string, to: string, occurrence?: number) => Effect.Effect<void>
}

/**
 * A message as far as the end of its header.
 *
 * - `parameters`: the ESMTP parameters of MAIL
 * - `recipients`: those that neither the MTA nor this filter has refused
 *
 * @category models
 * @since 0.1.0
 */
export interface Head {
  readonly sender: Mailbox
  readonly parameters: Parameters
  readonly recipients: ReadonlyArray<Rcpt>
  readonly headers: Headers
}

/**
 * A body as it is now. It can be read any number of times while the hook runs. Copy the bytes before you change them: they
 * are views.
 *
 * - `size`: in bytes
 * - `stream`: the bytes, lines end with CR LF; transfer encodings are not undone
 * - `bytes`, `text`: all of it at once, whatever its size; the text as UTF-8, with U+FFFD for invalid bytes
 *
 * @category models
 * @since 0.1.0
 */
export interface Body {
  readonly size: number
  readonly stream: Stream.Stream<Uint8Array>
  readonly bytes: Effect.Effect<Uint8Array>
  readonly text: Effect.Effect<string>
}

/**
 * What a document has unless the filter does without the body: the body, and the whole message as in a file, for scanners
 * and parsers.
 *
 * - `isTruncated`: whether `body`, `source` and `mime` lack the end of the body, see `tooLarge` in {@link Options}
 *
 * @category models
 * @since 0.1.0
 */
export interface Content {
  readonly body: Body
  readonly source: Stream.Stream<Uint8Array>
  readonly isTruncated: boolean
}

/**
 * What can be edited. A value that cannot go into a message is a defect `InvalidValue`, at once.
 *
 * @category models
 * @since 0.1.0
 */
export interface Editing {
  readonly headers: EditableHeaders
  /**
   * Replaces the whole body. Text goes out as UTF-8 with CR LF at the end of each line; bytes go out as they are, with lines
   * that should end with CR LF. Adapt Content-Type and Content-Transfer-Encoding yourself. A Stream is run to its end; its
   * errors and needs become the hook's. If the bytes do not differ from the message's, nothing is sent to the MTA.
   */
  readonly replaceBody: <E = never, R = never>(
    body: string | Uint8Array | Stream.Stream<Uint8Array, E, R>
  ) => Effect.Effect<void, E, R>
  /** Adds an envelope recipient, unless it is there already (in any case). The header is not touched. */
  readonly addRecipient: (address: Mailbox | string) => Effect.Effect<void>
  /**
   * Removes an envelope recipient, in any case; does nothing if it is not there. The last recipient cannot be removed: the
   * MTA would be left with a message for nobody. Add others first, or give the verdict discardMessage.
   */
  readonly removeRecipient: (address: Mailbox | string) => Effect.Effect<void>
  /** Changes the envelope sender; `""` is the null sender. The parameters of MAIL stay. */
  readonly setSender: (address: Mailbox | string) => Effect.Effect<void>
  /** Has the MTA hold the message, if the verdict lets it pass. Postfix keeps 100 bytes of the reason. */
  readonly quarantine: (reason: string) => Effect.Effect<void>
}

/**
 * What a filter may change, as it declares it in `modify`. `"mime"` is for texts and files in the body: `document.mime` edits its
 * parts, and the Content-* fields that go with them.
 *
 * @category models
 * @since 0.1.0
 */
export type Part = "headers" | "body" | "mime" | "recipients" | "sender" | "quarantine"

interface Methods {
  readonly headers: "headers"
  readonly body: "replaceBody"
  readonly mime: never
  readonly recipients: "addRecipient" | "removeRecipient"
  readonly sender: "setSender"
  readonly quarantine: "quarantine"
}

/**
 * A message as a document: `A` can be changed, and `B` says whether it has its body. What is read shows the edits so far.
 *
 * @category models
 * @since 0.1.0
 */
export type Document<A extends Part = never, B extends boolean = true> =
  & Head
  & (B extends true ? Content & { readonly mime: "mime" extends A ? EditableMime : Mime } : {})
  & Pick<Editing, Methods[A]>

/**
 * What hooks get in addition to the message: the session, and the state of the connection and of the message.
 *
 * @category models
 * @since 0.1.0
 */
export interface At<C, M> {
  readonly session: Session
  readonly connection: C
  readonly message: M
}

/**
 * The option `tooLarge: "truncate"`, for filters that have the body and do not edit it.
 *
 * @category models
 * @since 0.1.0
 */
export type Truncate<A extends Part, B extends boolean> = [Extract<A, "body" | "mime">, B] extends [never, true]
  ? "truncate"
  : never

/**
 * The options of {@link make}. All are optional; those that are in {@link Milter.Options} too mean the same.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<C, CE, CR, M, ME, MR, A extends Part, B extends boolean>
  extends Pick<Milter.Options<C, CE, CR, M, ME, MR, never, never, false>, "macros" | "onDefect" | "refuseConnection">
{
  /** What this filter may change. An MTA that does not offer all of it is refused in the negotiation, before any mail. */
  readonly modify?: ReadonlyArray<A>
  /** False if the filter does without the body: the MTA is not asked for it. */
  readonly body?: B
  /**
   * The most bytes of header and body together; unlimited by default. A larger message gets the answer `tooLarge`, even at
   * MAIL if the client announces the size.
   */
  readonly maxBytes?: number
  /**
   * The answer to a larger message: `552 5.3.4` by default. `"pass"` lets it pass unseen.
   *
   * With `"truncate"` the filter gets the beginning of the body, as far as `maxBytes` goes, and `document.isTruncated` says
   * so; the mail itself stays whole. A header above `maxBytes` is refused with `552 5.3.4` all the same.
   *
   * **Gotchas**
   *
   * What a sender puts after `maxBytes` is not seen by a filter that truncates: a scanner finds nothing there. A filter that
   * edits the body (`modify` has `"body"` or `"mime"`) may not truncate: the rest of the body would be lost.
   */
  readonly tooLarge?: Milter.FailurePolicy | Truncate<A, B>
  /** The most bytes of a body kept in memory, 256 KiB by default; a larger body goes into a temporary file. */
  readonly inMemory?: number
  /** Builds the state of a connection. */
  readonly connection?: (session: Session) => Effect.Effect<C, CE, CR>
  /** Builds the state of a message at MAIL. */
  readonly message?: (
    mail: Mail,
    // While nothing has fixed C, a builder written with `Effect.fnUntraced` would infer `never` from here.
    at: { readonly session: Session; readonly connection: [C] extends [never] ? void : C }
  ) => Effect.Effect<M, ME, MR>
}

/**
 * The result of {@link make}: `on` takes the hooks. Only `document` is required. The others run before it and may settle the
 * message; its rest is then neither requested nor kept. They are the hooks of {@link Milter.Making}, except that
 * `endOfHeaders` gets the message as far as it has arrived.
 *
 * @category models
 * @since 0.1.0
 */
export interface Making<C, M, A extends Part, B extends boolean, E, R> {
  readonly on: <
    E1 = never,
    R1 = never,
    E2 = never,
    R2 = never,
    E3 = never,
    R3 = never,
    E4 = never,
    R4 = never,
    E5 = never,
    R5 = never,
    E6 = never,
    R6 = never
  >(hooks: {
    /** A client has connected, and is not greeted yet. A refusal is for the whole SMTP session. */
    readonly connect?: Milter.AtStage<
      "connect",
      Verdict.ByStage["connect"],
      Milter.At<C, M, never, never, "connect">,
      E1,
      R1
    >
    /** HELO or EHLO; again after STARTTLS. A refusal is for the whole SMTP session. */
    readonly helo?: Milter.AtStage<"helo", Verdict.ByStage["helo"], Milter.At<C, M, never, never, "helo">, E2, R2>
    /** MAIL FROM: a message begins. A refusal is for the message. */
    readonly mail?: Milter.AtStage<"mail", Verdict.ByStage["mail"], Milter.At<C, M, never, never, "mail">, E3, R3>
    /** RCPT TO, once for each recipient. Reject and tempFail refuse this recipient; accept and discard are for the whole message. */
    readonly rcpt?: Milter.AtStage<"rcpt", Verdict.ByStage["rcpt"], Milter.At<C, M, never, never, "rcpt">, E4, R4>
    /** The empty line after the header: the message as far as it has arrived. */
    readonly endOfHeaders?: (head: Head, at: At<C, M>) => Effect.Effect<Verdict.OfMessage, E5, R5>
    /** The whole message, to read and to edit. The only hook that is required. */
    readonly document: (document: Document<A, B>, at: At<C, M>) => Effect.Effect<Verdict.OfMessage, E6, R6>
  }) => Milter.Made<E | E1 | E2 | E3 | E4 | E5 | E6, R | Exclude<R1 | R2 | R3 | R4 | R5 | R6, Scope.Scope>>
}
