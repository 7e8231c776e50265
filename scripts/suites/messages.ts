/** Messages of a directory: each is read as a document and delivered with its bytes; signed ones are checked, too. */
import * as Delivery from "effect-milter/Delivery"
import * as Message from "effect-milter/Message"
import * as MilterTest from "effect-milter/MilterTest"
import * as RawMessage from "effect-milter/RawMessage"
import * as Verdict from "effect-milter/Verdict"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Path from "node:path"
import { resultsOf, textRecords } from "./authentication.ts"
import { messagesIn, readFile, readYaml, type Row, type Suite, SuiteError } from "./suite.ts"

const envelope = { from: "alice@author.example", to: "bob@receiver.example" }

const addressFields = ["From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Resent-From", "Resent-To"]

const read = "read, bytes kept"

/**
 * What an SMTP client sends of a file: lines that end with CR LF, the last one too, an empty line below the header and no
 * `From ` line of a mailbox.
 */
const onTheWire = (file: Uint8Array, fields: number): Buffer => {
  const text = Buffer.from(file).toString("latin1").replace(/\r\n/g, "\n").replace(/^From (?![ \t]*:)[^\n]*\n/, "")
  const lines = text === "" || text.endsWith("\n") ? text.split("\n").slice(0, -1) : text.split("\n")
  let end = 0
  for (let seen = 0; end < lines.length; end++) {
    if (!/^[ \t]/.test(lines[end]!) || end === 0) seen++
    if (seen > fields) break
  }
  // Without one, where the header ends at a line that is not a field.
  if (lines[end] !== "") lines.splice(end, 0, "")
  return Buffer.from(lines.map((line) => `${line}\r\n`).join(""), "latin1")
}

/** Reads all that a document has to read. */
const readAll = Effect.fnUntraced(function*({ body, headers, mime, source }: Message.Document) {
  for (const { name } of headers.fields) headers.getAll(name)
  for (const name of addressFields) Message.formatAddresses(headers.addresses(name))
  headers.date()
  yield* body.text
  yield* Stream.runDrain(source)
  for (const leaf of (yield* mime.tree).leaves) {
    yield* Stream.runDrain(leaf.content)
    // A text that is not of its charset is an answer, too.
    yield* Effect.result(leaf.text)
  }
})

/** What became of a message: {@link read}, or what went wrong. */
const readMessage = Effect.fnUntraced(function*(file: string) {
  const bytes = yield* readFile(file)
  const message = RawMessage.parse(bytes)
  let reading: Exit.Exit<void> | undefined
  const reader = Message.make("reader").on({
    document: Effect.fnUntraced(function*(document) {
      reading = yield* Effect.exit(readAll(document))
      return Verdict.continue
    })
  })
  const sent = yield* Effect.result(MilterTest.message(reader, { ...envelope, ...message }))
  if (Result.isFailure(sent)) return sent.failure.message
  if (reading === undefined) return `not read: ${sent.success._tag}`
  if (Exit.isFailure(reading)) return Cause.pretty(reading.cause).split("\n", 1)[0]!
  const { delivered } = sent.success
  if (delivered === undefined) return `not delivered: ${sent.success._tag}`
  const written = Buffer.from(Delivery.toBytes(delivered))
  const wanted = onTheWire(bytes, message.headers.length)
  if (written.equals(wanted)) return read
  return `bytes differ from byte ${written.findIndex((byte, at) => byte !== wanted[at])} on`
})

const rowsOf = Effect.fnUntraced(function*(directory: string) {
  const rows: Array<Row> = []
  for (const name of yield* messagesIn(directory)) {
    rows.push({ name, expected: [read], actual: yield* readMessage(Path.join(directory, name)) })
  }
  return rows
})

export const messageSuite = Effect.fnUntraced(function*(directory: string) {
  return { title: `messages ${directory}`, rows: yield* rowsOf(directory), deviations: {} } satisfies Suite
})

/** Keys by name, and the messages whose result is not `pass`. */
const Keys = Schema.Struct({
  "txt-records": Schema.Record(Schema.String, Schema.String),
  results: Schema.optional(Schema.Record(Schema.String, Schema.String))
})

/** Signed messages with a file `keys.yml` beside them. */
export const dkimSuite = Effect.fnUntraced(function*(directory: string) {
  const rows = yield* rowsOf(directory)
  const file = Path.join(directory, "keys.yml")
  const [keys] = yield* readYaml(file, Keys)
  if (keys === undefined) return yield* new SuiteError({ file, problem: "the file is empty" })
  for (const name of yield* messagesIn(directory)) {
    const message = RawMessage.parse(yield* readFile(Path.join(directory, name)))
    const results = yield* resultsOf({ ...envelope, ...message }, textRecords(keys["txt-records"]))
    rows.push({
      name: `${name} signatures`,
      expected: [keys.results?.[name] ?? "pass"],
      // All of them, in the order of the header, each kind once.
      actual: [...new Set(results?.dkim.map(({ result }) => result))].join(" ") || "no result"
    })
  }
  return { title: `DKIM ${directory}`, rows, deviations: {} } satisfies Suite
})
