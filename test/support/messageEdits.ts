/** Edits of one message as a document, and what has to be delivered: for the imitated MTAs and for the real ones. */
import * as Message from "effect-milter/Message"
import * as Verdict from "effect-milter/Verdict"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Random from "./random.ts"

/** All that can be changed. */
export const parts = ["headers", "body", "recipients", "sender"] as const

/** An edit of the header alone. */
export type HeaderEdit = (document: Message.Document<"headers">) => Effect.Effect<unknown>

export type Edit = (document: Message.Document<typeof parts[number]>) => Effect.Effect<unknown>

export const sender = "alice@example.org"

export const recipients = ["bob@test.example", "Carol@test.example"]

/** One character per byte, as in the cases. The last but one is in Latin-1. */
export const fields: ReadonlyArray<string> = [
  "From: Alice <alice@example.org>",
  "To: Team: bob@test.example, \"Carol C.\" <Carol@test.example>;",
  "Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?= from\n here",
  "X-Note: one",
  "X-Note: two",
  "X-Note: three",
  "X-Latin: caf\u00e9",
  "Date: Mon, 01 Jan 2024 01:30:00 +0130",
  "Message-ID: <1@example.org>"
]

export const body = "Hello, Bob.\n"

export interface Case {
  readonly name: string
  readonly edit: Edit
  /** What is different then; lines of the body end with LF. */
  readonly fields?: ReadonlyArray<string>
  readonly body?: string
  readonly sender?: string
  readonly recipients?: ReadonlyArray<string>
}

const without = (...gone: ReadonlyArray<string>): ReadonlyArray<string> =>
  fields.filter((field) => !gone.some((start) => field.startsWith(start)))

const changed = (start: string, ...to: ReadonlyArray<string>): ReadonlyArray<string> =>
  fields.flatMap((field) => field.startsWith(start) ? to : [field])

const bodyOf = (lines: number): string => "A line of forty characters with its end\n".repeat(lines)

export const cases: ReadonlyArray<Case> = [
  { name: "nothing", edit: () => Effect.void },
  {
    name: "prepends and appends, in order",
    edit: Effect.fnUntraced(function*({ headers }) {
      yield* headers.append("X-End", "1")
      yield* headers.prepend("X-Top", "2")
      yield* headers.append("X-End", "2")
      yield* headers.prepend("X-Top", "1")
    }),
    fields: ["X-Top: 1", "X-Top: 2", ...fields, "X-End: 1", "X-End: 2"]
  },
  {
    name: "sets one of several",
    edit: ({ headers }) => headers.set("x-note", "changed", 2),
    fields: changed("X-Note: two", "X-Note: changed")
  },
  {
    name: "sets what is not there, at the end",
    edit: ({ headers }) => Effect.andThen(headers.set("X-New", "1"), headers.set("X-Note", "4", 9)),
    fields: [...fields, "X-New: 1", "X-Note: 4"]
  },
  {
    name: "removes all of a name",
    edit: ({ headers }) => headers.remove("X-Note"),
    fields: without("X-Note")
  },
  {
    name: "removes by occurrence, each time as it is then",
    edit: ({ headers }) => Effect.andThen(headers.remove("X-Note", 1), headers.remove("X-Note", 2)),
    fields: without("X-Note: one", "X-Note: three")
  },
  {
    name: "removes, changes and adds of one name",
    edit: Effect.fnUntraced(function*({ headers }) {
      yield* headers.remove("X-Note", 1)
      yield* headers.set("X-Note", "second", 1)
      yield* headers.append("X-Note", "last")
      yield* headers.prepend("X-Note", "first")
    }),
    fields: [
      "X-Note: first",
      ...without("X-Note: one").map((field) => field === "X-Note: two" ? "X-Note: second" : field),
      "X-Note: last"
    ]
  },
  {
    name: "encodes text, folds and is content with ASCII",
    edit: Effect.fnUntraced(function*({ headers }) {
      yield* headers.set("Subject", "Grüße aus Köln")
      yield* headers.append("X-Folded", "one\r\n two\n\tthree")
      yield* headers.append("X-Empty", "")
    }),
    fields: [
      ...changed("Subject", "Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?= aus =?UTF-8?Q?K=C3=B6ln?="),
      "X-Folded: one\n two\n\tthree",
      "X-Empty: "
    ]
  },
  {
    name: "writes addresses",
    edit: ({ headers }) =>
      headers.set("To", Message.formatAddresses([{ name: "Müller, Anna", address: "anna@example.org" }])),
    fields: changed("To:", "To: =?UTF-8?Q?M=C3=BCller=2C_Anna?= <anna@example.org>")
  },
  {
    name: "renames at an end of the header, the bytes as they are",
    edit: Effect.fnUntraced(function*({ headers }) {
      yield* headers.remove("Date")
      yield* headers.remove("Message-ID")
      yield* headers.rename("X-Latin", "X-Old-Latin")
    }),
    fields: [...without("X-Latin", "Date", "Message-ID"), "X-Old-Latin: caf\u00e9"]
  },
  {
    // Sendmail's place for it is that of the usual sendmail.cf.
    name: "renames where they stand",
    edit: ({ headers }) => Effect.andThen(headers.rename("X-Note", "X-Renamed"), headers.rename("To", "X-To")),
    fields: fields.map((field) => field.replace(/^X-Note:/, "X-Renamed:").replace(/^To:/, "X-To:"))
  },
  {
    name: "replaces the body with text",
    edit: (document) => document.replaceBody("Grüße\nBob"),
    body: "Gr\u00c3\u00bc\u00c3\u009fe\nBob\n"
  },
  {
    name: "replaces the body with nothing",
    edit: (document) => document.replaceBody(new Uint8Array(0)),
    body: ""
  },
  {
    name: "adds to the body as it was",
    edit: (document) =>
      document.replaceBody(
        Stream.concat(
          document.body.stream,
          Stream.succeed(new TextEncoder().encode(bodyOf(9000).replaceAll("\n", "\r\n")))
        )
      ),
    body: body + bodyOf(9000)
  },
  {
    name: "adds and removes recipients",
    edit: Effect.fnUntraced(function*(document) {
      yield* document.addRecipient("dave@test.example")
      yield* document.addRecipient("BOB@test.example")
      yield* document.removeRecipient(document.recipients[1]!.recipient)
      yield* document.removeRecipient("nobody@test.example")
    }),
    recipients: ["bob@test.example", "dave@test.example"]
  },
  {
    name: "removes all recipients that came",
    edit: Effect.fnUntraced(function*(document) {
      yield* document.addRecipient("<dave@test.example>")
      yield* document.removeRecipient("bob@test.example")
      yield* document.removeRecipient("carol@TEST.example")
    }),
    recipients: ["dave@test.example"]
  },
  {
    name: "changes the sender",
    edit: (document) => document.setSender("eve@example.org"),
    sender: "eve@example.org"
  },
  {
    name: "takes the sender away",
    edit: (document) => document.setSender(""),
    sender: ""
  },
  {
    name: "all at once",
    edit: Effect.fnUntraced(function*(document) {
      yield* document.headers.prepend("X-Size", String(document.body.size))
      yield* document.headers.remove("X-Note", 2)
      yield* document.replaceBody(`${yield* document.body.text}PS\n`)
      yield* document.setSender("eve@example.org")
      yield* document.addRecipient("dave@test.example")
    }),
    fields: ["X-Size: 13", ...without("X-Note: two")],
    body: `${body}PS\n`,
    sender: "eve@example.org",
    recipients: [...recipients, "dave@test.example"]
  }
]

/** A case that edits the header alone. */
export interface HeaderCase extends Case {
  readonly edit: HeaderEdit
}

/** Edits of the header that a seed repeats, and the fields that result. */
const randomCase = (seed: number): HeaderCase => {
  const random = Random.make(seed)
  const names = ["X-Note", "X-A", "X-B", "Subject", "Keywords"]
  let lines = [...fields]
  const edits: Array<HeaderEdit> = []
  for (let count = random.between(1, 8); count > 0; count--) {
    const name = random.pick(names)
    const other = random.pick(names)
    const value = `value ${random.between(1, 3)}`
    const occurrence = random.between(1, 3)
    const places = lines.flatMap((line, at) => line.startsWith(`${name}:`) ? [at] : [])
    const place = places[occurrence - 1]
    const replace = (line?: string): void => {
      if (place !== undefined) lines.splice(place, 1, ...(line === undefined ? [] : [line]))
    }
    switch (random.pick(["set", "append", "prepend", "remove", "rename"])) {
      case "set":
        edits.push(({ headers }) => headers.set(name, value, occurrence))
        if (place === undefined) lines.push(`${name}: ${value}`)
        else replace(`${name}: ${value}`)
        break
      case "append":
        edits.push(({ headers }) => headers.append(name, value))
        lines.push(`${name}: ${value}`)
        break
      case "prepend":
        edits.push(({ headers }) => headers.prepend(name, value))
        lines = [`${name}: ${value}`, ...lines]
        break
      case "remove":
        edits.push(({ headers }) => headers.remove(name, occurrence))
        replace()
        break
      case "rename":
        edits.push(({ headers }) => headers.rename(name, other, occurrence))
        if (place !== undefined) replace(`${other}${lines[place]!.slice(name.length)}`)
        break
    }
  }
  return {
    name: `edits by chance, ${seed}`,
    edit: (document) => Effect.forEach(edits, (edit) => edit(document), { discard: true }),
    fields: lines
  }
}

export const randomCases = (count: number): ReadonlyArray<HeaderCase> =>
  Array.from({ length: count }, (_, seed) => randomCase(seed))

export const editing = (edit: Edit) =>
  Message.make("editing", { modify: parts }).on({
    document: (document) => Effect.as(edit(document), Verdict.continue)
  })
