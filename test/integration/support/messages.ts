/** Messages that several tests send. */
import { crlf } from "../../../testbed/smtpClient.ts"

export const from = "alice@example.org"
export const to = "bob@test.example"

/** A message that no MTA completes; `more` are further fields, each with its line end. */
export const messageOf = (subject: string, more = ""): string =>
  crlf(`From: Alice <alice@example.org>
To: bob@test.example
Subject: ${subject}
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <${subject}@example.org>
${more}
Hello, Bob.
`)

/** The least that no MTA completes. */
export const short = crlf(`From: Alice <alice@example.org>
To: bob@test.example
Subject: hello
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <1@example.org>

Hello.
`)

/** With three fields of one name. */
export const withNotes = crlf(`From: Alice <alice@example.org>
To: bob@test.example
Subject: first
X-Note: one
X-Note: two
X-Note: three
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <1@example.org>

Hello, Bob.
`)

/** As in a queue file. */
export const lf = (message: string): string => message.replaceAll("\r\n", "\n")
