/**
 * Whose results a field holds, as others read it: whatever they take for ours, our filter removes.
 */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { claims } from "../../src/auth/internal/claims.ts"
import { describeDaemon, directory, start, write } from "../../testbed/daemon.ts"
import { prerequisites } from "../../testbed/daemons.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import * as spellings from "../auth/support/spellings.ts"
import { message, send } from "./support/send.ts"

const ids = new Set([spellings.id])

/** What a reader of its own, in another language, is given and gives. */
const separator = "\x1e"

const all = [...spellings.valid, ...spellings.forgiven, ...spellings.foreign].map((spelling) =>
  `${spelling}; dkim=pass`
)

const ask = (command: string, ...args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { input: all.join(separator), encoding: "utf8" })
  if (error !== undefined || status !== 0) throw new Error(`${command}: ${error ?? stderr}`)
  return stdout.split(separator).slice(0, -1)
}

const ours = (name: string): boolean => name.trim().replace(/\s+[0-9]+$/, "").toLowerCase() === spellings.id

const missing = (command: string, args: ReadonlyArray<string>, packages: string): string | undefined =>
  spawnSync(command, args).status === 0
    ? undefined
    : `there is no ${command} with what it needs (Debian: apt-get install ${packages})`

const perl = ["-MMail::AuthenticationResults::Parser"]

describeWith(
  missing("perl", [...perl, "-e", "1"], "libmail-authenticationresults-perl"),
  "Perl's Mail::AuthenticationResults",
  () => {
    it("takes nothing for ours that stays", () => {
      const found = ask(
        "perl",
        ...perl,
        "-e",
        `$/ = undef; for my $v (split /\\x1e/, <STDIN>) {
  my $id = eval { Mail::AuthenticationResults::Parser->new->parse($v)->value->value };
  print defined $id ? $id : "", "\\x1e";
}`
      )
      assert.lengthOf(found, all.length)
      const believed = all.filter((_, index) => ours(found[index]!))
      assert.includeMembers(believed, ["mx.example.net; dkim=pass", "(c) mx.example.net (d) 1; dkim=pass"])
      assert.deepStrictEqual(believed.filter((value) => !claims(value, ids)), [])
    })
  }
)

describeWith(missing("python3", ["-c", "import email"], "python3"), "Python's email", () => {
  it("takes nothing for ours that stays", () => {
    const found = ask(
      "python3",
      "-c",
      `
import email, email.header, email.policy, sys
sys.stdout.reconfigure(encoding="utf-8")
for value in sys.stdin.buffer.read().split(b"\\x1e"):
    found = []
    for policy in (email.policy.compat32, email.policy.default):
        message = email.message_from_bytes(b"Authentication-Results: " + value + b"\\r\\n\\r\\n", policy=policy)
        try:
            found.append(str(message["authentication-results"]).split(";")[0])
            found.append(message.get_params(header="authentication-results")[0][0])
        except Exception:
            pass
    found.append(str(email.header.make_header(email.header.decode_header(found[0]))))
    found += [email.utils.unquote(each) for each in found]
    sys.stdout.write("\\x1f".join(found) + "\\x1e")
`
    )
    assert.lengthOf(found, all.length)
    const believed = all.filter((_, index) => found[index]!.split("\x1f").some(ours))
    assert.includeMembers(believed, ["mx.example.net; dkim=pass", "=?utf-8?q?mx.example.net?=; dkim=pass"])
    assert.deepStrictEqual(believed.filter((value) => !claims(value, ids)), [])
  })
})

describeDaemon("OpenDMARC", prerequisites.opendmarc, () => {
  it.live("takes nothing for ours that stays", () =>
    Effect.gen(function*() {
      const own = yield* directory
      const [history, socket] = [Path.join(own, "history"), Path.join(own, "opendmarc.sock")]
      const configuration = write(
        own,
        "opendmarc.conf",
        `AuthservID ${spellings.id}
TrustedAuthservIDs ${spellings.id}
Socket local:${socket}
HistoryFile ${history}
RecordAllMessages true
DNSTimeout 1
Background no
`
      )
      yield* start({ command: "opendmarc", args: ["-f", "-c", configuration], socket })
      const believed: Array<string> = []
      for (const value of all) {
        Fs.rmSync(history, { force: true })
        yield* send(`unix:${socket}`, {
          ...message,
          headers: [...message.headers ?? [], ["Authentication-Results", `${value} header.d=example.org header.s=x`]]
        })
        const text = Fs.existsSync(history) ? Fs.readFileSync(history, "utf8") : ""
        if (/^dkim /m.test(text)) believed.push(value)
      }
      assert.includeMembers(
        believed,
        ["mx.example.net", "mx . example . net", "\"mx\".example.net", "m\\x.example.net", "(a;b)mx.example.net"]
          .map((spelling) => `${spelling}; dkim=pass`)
      )
      assert.deepStrictEqual(believed.filter((value) => !claims(value, ids)), [])
    }))
})
