/** The examples that edit parts: as processes, and in the order verify, edit, sign, seal; what must come of each message. */
import { assert } from "@effect/vitest"
import * as Auth from "effect-milter/auth"
import * as ClientAddress from "effect-milter/ClientAddress"
import * as Milter from "effect-milter/Milter"
import type * as MilterClient from "effect-milter/MilterClient"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { attachmentPolicy } from "../../../examples/attachment_policy/filter.ts"
import { disclaimer } from "../../../examples/disclaimer/filter.ts"
import { externalBanner } from "../../../examples/external_banner/filter.ts"
import { directory, write } from "../../../testbed/daemon.ts"
import type { Delivered, Instance } from "../../../testbed/mta.ts"
import { opendkim, signingKey } from "../../../testbed/opendkim.ts"
import * as SmtpClient from "../../../testbed/smtpClient.ts"
import { input, recordsOf } from "../../auth/support/mail.ts"
import { added, outside, send } from "../../interop/support/send.ts"
import * as Example from "./exampleProcess.ts"
import * as FilterServer from "./filterServer.ts"
import { from, to } from "./messages.ts"

const { crlf } = SmtpClient

const disclaimers = {
  "example.org": { text: "-- \nVertraulich für Sie", html: "<p>Vertraulich für Sie</p>" }
}

const keys = [input("example.org"), input("relay.example")]
const records = recordsOf(keys)
const services = Layer.merge(Auth.Keys.layer(keys), Auth.Dns.layerRecords(records))

const authservId = "mx.test.example"

const loopback = Auth.submitted(["127.0.0.0/8"])

const inOrder = <E>(filter: Milter.Made<E, never>) =>
  Milter.sequence([
    Auth.verify({ authservId, skip: () => false }),
    Milter.onFailure(filter, () => Effect.succeed("pass" as const)),
    Auth.sign({ when: loopback }),
    Auth.seal({ authservId, domain: "relay.example", when: () => true })
  ])

/** The addresses of the filters by the names of listeners, and OpenDKIM with the public keys. */
export const servers = Effect.gen(function*() {
  const own = yield* directory
  const file = write(own, "disclaimers.json", JSON.stringify(disclaimers))
  const served = yield* Effect.all({
    disclaimer: Example.serveByName("disclaimer", ["--disclaimers", file, "--id", "acme"]),
    banner: Example.serveByName("external_banner", ["--subject", "[EXTERN]"], { MILTER_TEXT: "CAUTION" }),
    inside: Example.serveByName("external_banner", ["--networks", "127.0.0.0/8"]),
    policy: Example.serveByName("attachment_policy", ["--extensions", "exe"])
  }, { concurrency: 2 })
  const network = Result.getOrThrow(ClientAddress.network([]))
  const chains = {
    disclaimerInOrder: inOrder(disclaimer({ disclaimers, id: "acme", besideSigned: false })),
    bannerInOrder: inOrder(
      externalBanner({
        text: "CAUTION für alle",
        html: undefined,
        id: "external",
        subject: "[EXTERN]",
        networks: network
      })
    ),
    policyInOrder: inOrder(attachmentPolicy({ extensions: new Set(["exe"]), action: "remove", otherwise: "reject" }))
  }
  const inProcess = yield* Effect.all({
    disclaimerInOrder: FilterServer.serve(chains.disclaimerInOrder),
    bannerInOrder: FilterServer.serve(chains.bannerInOrder),
    policyInOrder: FilterServer.serve(chains.policyInOrder)
  }).pipe(Effect.provide(services))
  const [[name, record]] = Object.entries(records) as [[string, { readonly TXT: ReadonlyArray<string> }]]
  const verifier = yield* opendkim({
    domain: "unused.example",
    selector: "none",
    file: signingKey(own, "unused.example", "none").file,
    publicKeys: write(own, "public", `${name} ${record.TXT[0]!}\n`)
  })
  return { served, inProcess, verifier }
})

/** OpenDKIM finds that the signature of the last hop is good. */
export const assertVerified = Effect.fnUntraced(function*(verifier: string, mail: Delivered) {
  const bytes = (text: string): Uint8Array => ByteString.toBytes(ByteString.make(text))
  const message: MilterClient.Message = {
    from: "alice@example.org",
    to: "bob@example.net",
    client: outside,
    headers: mail.headers.map(([name, value]) => [name, bytes(value)] as const),
    body: bytes(crlf(mail.body))
  }
  const results = added(yield* send(verifier, message), "Authentication-Results").join()
  assert.match(results, /dkim=pass .*header\.d=example\.org/s)
  const names = mail.headers.map(([name]) => name)
  for (const name of ["DKIM-Signature", "ARC-Seal", "Authentication-Results"]) assert.include(names, name)
})

const head = `From: Alice <alice@example.org>
To: bob@test.example
Subject: hello
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <1@example.org>
`

export const alternative = crlf(`${head}MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain

Hello, Bob.
--b
Content-Type: text/html; charset=iso-8859-1
Content-Transfer-Encoding: base64

PGh0bWw+PGJvZHk+SGVsbG8sIEJvYi48L2JvZHk+PC9odG1sPg==
--b--
`)

export const plain = crlf(`${head}
Hello, Bob.
`)

export const signed = crlf(`${head}MIME-Version: 1.0
Content-Type: multipart/signed; boundary=s

--s

Hello, Bob.
--s
Content-Type: application/pgp-signature; name=sig.asc

x
--s--
`)

export const reply = crlf(`${head}
Yes.
> --- external ---
> CAUTION
> --- /external ---
> Hello
`)

export const program = crlf(`${head}MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=m

--m

Hello, Bob.
--m
Content-Type: application/octet-stream
Content-Disposition: attachment; filename*=utf-8''setup.exe

MZ
--m--
`)

export const checks: {
  readonly [listener: string]: ReadonlyArray<readonly [sent: string, holds: (mail: Delivered) => void]>
} = {
  disclaimer: [
    [alternative, ({ body }) => {
      assert.include(body, "Hello, Bob.\n--- acme ---\n--=20\nVertraulich f=C3=BCr Sie\n--- /acme ---\n--b\n")
      const html = Buffer.from(/base64\n\n([^-]+)\n--b--/.exec(body)![1]!, "base64").toString()
      assert.include(
        html,
        "Hello, Bob.\r\n<!-- acme begin --><p>Vertraulich f&#252;r Sie</p><!-- acme end -->\r\n</body>"
      )
    }],
    [
      signed,
      ({ body }) => assert.strictEqual(body, signed.slice(signed.indexOf("\r\n\r\n") + 4).replaceAll("\r\n", "\n"))
    ],
    [plain, ({ body, headers }) => {
      assert.strictEqual(
        body,
        "Hello, Bob.\n--- acme ---\n--=20\nVertraulich f=C3=BCr Sie\n--- /acme ---\n"
      )
      assert.deepInclude(headers, ["Content-Transfer-Encoding", "quoted-printable"])
    }]
  ],
  banner: [
    [plain, ({ body, headers }) => {
      assert.strictEqual(body, "--- external ---\nCAUTION\n--- /external ---\nHello, Bob.\n")
      assert.deepInclude(headers, ["X-External", "yes"])
      assert.deepInclude(headers, ["Subject", "[EXTERN] hello"])
    }],
    [signed, ({ headers }) => assert.deepInclude(headers, ["X-External", "yes"])]
  ],
  inside: [[reply, ({ body }) => assert.strictEqual(body, "Yes.\n> Hello\n")]],
  policy: [[program, ({ body }) => {
    assert.include(body, "The file setup.exe was removed.\n--m--\n")
    assert.notInclude(body, "MZ")
  }]]
}

export const inOrderChecks: typeof checks = {
  disclaimerInOrder: checks["disclaimer"]!.slice(0, 2),
  bannerInOrder: [[plain, ({ body }) => assert.include(body, "CAUTION f=C3=BCr alle\n")]],
  policyInOrder: checks["policy"]!
}

/** One client sends the messages to a listener of an MTA; what is delivered of each. */
export const deliver = Effect.fnUntraced(function*(
  { portOf, takeOne }: Pick<Instance<string, Delivered>, "portOf" | "takeOne">,
  listener: string,
  messages: ReadonlyArray<string>
) {
  const client = yield* SmtpClient.connect(portOf(listener))
  return yield* Effect.forEach(messages, (message) =>
    Effect.gen(function*() {
      const result = yield* client.sendMail({ from, to, message })
      assert.strictEqual(result.message?.code, 250, result.last.text)
      return yield* takeOne({ queueId: result.queueId })
    }))
}, Effect.scoped)
