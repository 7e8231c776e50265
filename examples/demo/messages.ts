/** Three messages: one that passes, one that is refused, one that is put off. */
export interface Mail {
  readonly from: string
  readonly to: string
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: string
}

export const mails: ReadonlyArray<Mail> = [
  {
    from: "alice@example.org",
    to: "bob@test.example",
    headers: [
      ["From", "Alice <alice@example.org>"],
      ["To", "bob@test.example"],
      ["Subject", "Lunch?"],
      ["Date", "Mon, 05 Jan 2026 10:00:00 +0000"],
      ["Message-Id", "<1@example.org>"]
    ],
    body: "Shall we meet at noon?\n"
  },
  {
    from: "mallory@example.com",
    to: "bob@test.example",
    headers: [["From", "Mallory <mallory@example.com>"], ["Subject", "A bargain"]],
    body: "Only today.\n"
  },
  {
    from: "alice@example.org",
    to: "busy@test.example",
    headers: [["From", "Alice <alice@example.org>"], ["Subject", "Are you there?"]],
    body: "I shall try again.\n"
  }
]

/** As it goes over SMTP. */
export const textOf = ({ body, headers }: Mail): string =>
  [...headers.map(([name, value]) => `${name}: ${value}`), "", body].join("\n").replace(/\n/g, "\r\n")
