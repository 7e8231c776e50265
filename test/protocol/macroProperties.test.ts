/** What the properties of macros say, of what real MTAs send. */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import { MacroStore } from "../../src/internal/protocol/macroStore.ts"
import * as Macros from "../../src/Macros.ts"
import { ByteString } from "../../src/Wire.ts"
import { fromHex } from "../support/wire.ts"

interface Line {
  readonly dir: "M" | "F"
  readonly conn: number
  readonly cmd?: string
  readonly hex?: string
}

/** The macros as they stand at each command of the first connection of a recording. */
const replay = (name: string, look: (command: string, macros: Macros.Macros) => void): void => {
  const store = new MacroStore()
  const lines = Fs.readFileSync(new URL(`../fixtures/recordings/${name}.jsonl`, import.meta.url), "utf8").split("\n")
  const frames = lines.filter((line) => line !== "").map((line): Line => JSON.parse(line))
  const first = frames.find(({ cmd, dir }) => dir === "M" && cmd === "C")?.conn
  for (const { cmd, conn, dir, hex } of frames) {
    if (dir !== "M" || cmd === undefined || hex === undefined || conn !== first) continue
    const payload = ByteString.fromBytes(fromHex(hex))
    if (cmd === "D") store.define(payload.charCodeAt(0), payload.slice(1) as ByteString)
    else {
      if (cmd === "A") store.endMessage()
      store.command(cmd.charCodeAt(0))
      look(cmd, store)
    }
  }
}

const at = <A>(name: string, command: string, read: (macros: Macros.Macros) => A): ReadonlyArray<A> => {
  const found: Array<A> = []
  replay(name, (letter, macros) => {
    if (letter === command) found.push(read(macros))
  })
  return found
}

const all = (macros: Macros.Macros) => ({
  mta: macros.mta,
  mtaVersion: macros.mtaVersion,
  mtaName: macros.mtaName,
  queueId: macros.queueId,
  messageId: macros.messageId,
  daemon: macros.daemon,
  client: macros.client,
  tls: macros.tls,
  authentication: macros.authentication,
  mail: macros.mail,
  rcpt: macros.rcpt
})

const store = (macros: { readonly [name: string]: string }): Macros.Macros => {
  const found = new MacroStore()
  // Bytes, one character each.
  found.define(
    "M".charCodeAt(0),
    Object.entries(macros).map(([name, value]) => `${name}\0${value}\0`).join("") as ByteString
  )
  return found
}

const noClient: Macros.Client = {
  address: undefined,
  port: undefined,
  name: undefined,
  ptr: undefined,
  resolve: undefined,
  connections: undefined
}

const nowhere: Macros.Destination = { address: undefined, host: undefined, mailer: undefined }

describe("recorded", () => {
  it("Postfix 3.7 tells all this of a session with AUTH", () => {
    assert.deepStrictEqual(at("postfix-auth", "R", all), [{
      mta: "postfix",
      mtaVersion: "3.7.11",
      mtaName: "mx.test.example",
      queueId: undefined,
      messageId: undefined,
      daemon: { name: "mx.test.example", address: "127.0.0.1", port: undefined },
      client: noClient,
      tls: undefined,
      authentication: { login: "alice", type: "PLAIN", ssf: undefined, author: undefined },
      mail: { address: "alice@example.org", host: "example.org", mailer: "capture" },
      rcpt: { address: "bob@test.example", host: "test.example", mailer: "capture" }
    }])
    const [queueId] = at("postfix-auth", "E", ({ queueId }) => queueId)
    assert.match(queueId ?? "", /^[0-9A-F]+$/)
    // Of the process that knows no AUTH: what the other has said still counts.
    assert.deepStrictEqual(at("postfix-auth", "E", ({ authentication }) => authentication?.login), ["alice"])
  })

  it("both tell of TLS from the second HELO on", () => {
    for (const mta of ["postfix", "sendmail"] as const) {
      const tls = {
        version: "TLSv1.3",
        cipher: "TLS_AES_256_GCM_SHA384",
        bits: 256,
        subject: undefined,
        issuer: undefined,
        verified: false,
        serverName: undefined
      }
      assert.deepStrictEqual(at(`${mta}-starttls`, "H", (macros) => macros.tls), [undefined, tls])
      assert.deepStrictEqual(at(`${mta}-starttls`, "E", (macros) => macros.tls), [tls])
      assert.deepStrictEqual(at(`${mta}-starttls`, "E", (macros) => macros.mta), [mta])
      assert.deepStrictEqual(at(`${mta}-starttls`, "E", (macros) => macros.authentication), [undefined])
    }
  })

  it("Sendmail 8.17 tells all this at end of message", () => {
    const [found] = at("sendmail-all-steps", "E", all)
    assert.match(found?.queueId ?? "", /^6AM/)
    assert.deepStrictEqual(found, {
      mta: "sendmail",
      mtaVersion: undefined,
      mtaName: "mx.test.example",
      queueId: found?.queueId,
      messageId: found?.messageId,
      daemon: { name: "MTA", address: undefined, port: undefined },
      client: noClient,
      tls: undefined,
      authentication: undefined,
      mail: { address: "alice@example.org", host: "localhost", mailer: "capture" },
      rcpt: { address: "carol@test.example", host: "localhost", mailer: "capture" }
    })
    assert.match(found?.messageId ?? "", /^<.*>$/)
  })

  it("what a filter asks for comes, and no more: then the queue id tells the MTA", () => {
    assert.deepStrictEqual(at("postfix-symlist", "C", ({ client, mta }) => [mta, client.address, client.ptr]), [
      ["unknown", "127.0.0.1", undefined]
    ])
    assert.deepStrictEqual(at("postfix-symlist", "E", ({ mta }) => mta), ["postfix", "postfix"])
    assert.deepStrictEqual(at("sendmail-symlist", "C", ({ client, mta }) => [mta, client.address, client.ptr]), [
      ["unknown", "127.0.0.1", "localhost"]
    ])
  })

  it("every session says whose it is by the end of its first message", () => {
    const files = Fs.readdirSync(new URL("../fixtures/recordings/", import.meta.url))
    let messages = 0
    for (const file of files.filter((name) => name.endsWith(".jsonl") && !name.includes("symlist"))) {
      // Some end before the end of a message.
      const said = at(file.replace(".jsonl", ""), "E", ({ mta }) => mta)
      messages += said.length
      const found = new Set(said)
      found.delete(file.startsWith("postfix") ? "postfix" : "sendmail")
      assert.deepStrictEqual([...found], [], file)
    }
    assert.isAbove(messages, 100)
  })
})

describe("escapes", () => {
  // What Sendmail 8.17 sent for a login of `al+2Bice(x) <y>"z` and AUTH=e+3Dmc2+2B41@example.com.
  const sendmail = {
    v: "8.17.1.9",
    "{auth_type}": "PLAIN",
    "{auth_authen}": "al+2B2Bice+28x+29+20+3Cy+3E+22z",
    "{auth_author}": "e+3Dmc2+2B41@example.com",
    "{auth_ssf}": "0"
  }

  it("of Sendmail are undone", () => {
    assert.deepStrictEqual(store(sendmail).authentication, {
      login: "al+2Bice(x) <y>\"z",
      type: "PLAIN",
      ssf: 0,
      author: "e=mc2+41@example.com"
    })
    assert.strictEqual(store({ ...sendmail, "{auth_authen}": "j+C3+B6rg+" }).authentication?.login, "j+C3+B6rg+")
    assert.strictEqual(store({ ...sendmail, "{auth_authen}": "j+C3+B6rg" }).authentication?.login, "jörg")
  })

  it("are none in Postfix's login names, but in the parameter AUTH", () => {
    const { authentication } = store({ ...sendmail, v: "Postfix 3.7.11" })
    assert.strictEqual(authentication?.login, "al+2B2Bice+28x+29+20+3Cy+3E+22z")
    assert.strictEqual(authentication?.author, "e=mc2+41@example.com")
  })

  it("stay where nobody knows whose they are", () => {
    const { authentication, mta } = store({ "{auth_authen}": "bob+40", "{auth_type}": "PLAIN" })
    assert.strictEqual(mta, "unknown")
    assert.strictEqual(authentication?.login, "bob+40")
  })

  it("of certificates are undone, whose check counts", () => {
    // Of a client certificate that Sendmail 8.17 was told to trust, and one that it was not.
    const ours = {
      "{if_name}": "localhost",
      "{verify}": "OK",
      "{tls_version}": "TLSv1.3",
      "{cert_subject}": "/O=Ex+20+28am+29+20ple/emailAddress=a@b.example",
      "{cert_issuer}": "/CN=other"
    }
    assert.deepStrictEqual(store(ours).tls, {
      version: "TLSv1.3",
      cipher: undefined,
      bits: undefined,
      subject: "/O=Ex (am) ple/emailAddress=a@b.example",
      issuer: "/CN=other",
      verified: true,
      serverName: undefined
    })
    assert.isFalse(store({ ...ours, "{verify}": "FAIL" }).tls?.verified)
    assert.isFalse(store({ ...ours, "{verify}": "NO", "{cert_subject}": "" }).tls?.verified)
    const { "{verify}": _, ...unasked } = ours
    assert.isFalse(store(unasked).tls?.verified)
  })

  it("Postfix gives the names of certificates that it trusts", () => {
    const postfix = { v: "Postfix 3.12.0", "{tls_version}": "TLSv1.3", "{tls_sni}": "mx.example" }
    assert.isFalse(store(postfix).tls?.verified)
    assert.isTrue(store({ ...postfix, "{cert_subject}": "a+40b" }).tls?.verified)
    assert.strictEqual(store({ ...postfix, "{cert_subject}": "a+40b" }).tls?.subject, "a+40b")
    assert.isTrue(store({ ...postfix, "{cert_subject}": "" }).tls?.verified)
    assert.strictEqual(store(postfix).tls?.serverName, "mx.example")
  })
})

describe("values", () => {
  it("that are empty are not there", () => {
    // Sendmail clears what belonged to an earlier session that way.
    const { authentication, queueId, tls } = store({ i: "", "{tls_version}": "", "{cipher}": "", "{auth_type}": "" })
    assert.deepStrictEqual([queueId, tls, authentication], [undefined, undefined, undefined])
    // But the null sender is.
    assert.strictEqual(store({ "{mail_addr}": "" }).mail.address, "")
  })

  it("that are no numbers are not there", () => {
    assert.isUndefined(store({ "{client_port}": "smtp" }).client.port)
    assert.isUndefined(store({ "{client_connections}": "-1" }).client.connections)
    assert.strictEqual(store({ "{client_connections}": "12" }).client.connections, 12)
  })

  it("of addresses have one form", () => {
    for (const address of ["IPv6:2001:db8:0:0:0:0:0:1", "2001:DB8::1", "[IPv6:2001:db8::1]", "ipv6:2001:db8::1"]) {
      assert.strictEqual(store({ "{client_addr}": address }).client.address, "2001:db8::1")
    }
    assert.strictEqual(store({ "{client_addr}": "unix" }).client.address, "unix")
    assert.strictEqual(store({ "{if_addr}": "192.0.2.1", "{daemon_addr}": "0.0.0.0" }).daemon.address, "192.0.2.1")
  })

  it("of names are there only where there is a name", () => {
    assert.isUndefined(store({ "{client_name}": "unknown" }).client.name)
    assert.isUndefined(store({ "{client_name}": "[192.0.2.1]", "{client_ptr}": "unknown" }).client.name)
    assert.strictEqual(store({ "{client_ptr}": "a.example" }).client.ptr, "a.example")
  })

  it("of the look-up are those four", () => {
    for (const resolve of ["OK", "FAIL", "FORGED", "TEMP"] as const) {
      assert.strictEqual(store({ "{client_resolve}": resolve }).client.resolve, resolve)
    }
    assert.isUndefined(store({ "{client_resolve}": "MAYBE" }).client.resolve)
    assert.strictEqual(store({ _: "a.example [192.0.2.1] (may be forged)" }).client.resolve, "FORGED")
  })

  it("are shown by a view that has nothing but raw and entries", () => {
    class OnlyQueueId extends Macros.Macros {
      override raw(name: string): ByteString | undefined {
        return Macros.normalize(name) === "i" ? ByteString.fromText("6AM8RJVH018531") : undefined
      }
      override entries(): ReadonlyArray<readonly [name: string, value: string]> {
        return [["i", "6AM8RJVH018531"]]
      }
    }
    const view = new OnlyQueueId()
    assert.strictEqual(view.queueId, "6AM8RJVH018531")
    assert.strictEqual(view.get("{i}"), "6AM8RJVH018531")
    assert.strictEqual(view.mta, "sendmail")
    assert.deepStrictEqual(all(Macros.empty), {
      mta: "unknown",
      mtaVersion: undefined,
      mtaName: undefined,
      queueId: undefined,
      messageId: undefined,
      daemon: { name: undefined, address: undefined, port: undefined },
      client: noClient,
      tls: undefined,
      authentication: undefined,
      mail: nowhere,
      rcpt: nowhere
    })
  })
})

describe("mta", () => {
  it.each(
    [
      [{ v: "Postfix 3.7.11" }, "postfix"],
      [{ v: "Postfix 3.12-20260101" }, "postfix"],
      [{ v: "8.17.1.9" }, "sendmail"],
      [{ v: "8.18.1/8.18.1" }, "sendmail"],
      [{ v: "Haraka 3.0" }, "unknown"],
      [{ v: "Our MTA 1.0", i: "8A6ED242673" }, "postfix"],
      [{ "{if_addr}": "192.0.2.1" }, "sendmail"],
      [{ "{auth_ssf}": "0" }, "sendmail"],
      [{ i: "8A6ED242673" }, "postfix"],
      [{ i: "4PJ3Wz1kZRz9rxN" }, "postfix"],
      [{ i: "6AM8RJVH018531" }, "sendmail"],
      [{ i: "6AM8RJVH1018531" }, "sendmail"],
      // Either could be.
      [{ i: "6AA8AAAA018531" }, "unknown"],
      [{ i: "1uAbcD-0000000001a-2bCd" }, "unknown"],
      [{ i: "5F0A4B1C-1234.1" }, "unknown"],
      [{ i: "" }, "unknown"],
      [{}, "unknown"]
    ] as const
  )("with %j is %s", (macros, mta) => {
    assert.strictEqual(store(macros).mta, mta)
  })
})

describe("docs/filters/values.md", () => {
  const page = Fs.readFileSync(new URL("../../docs/filters/values.md", import.meta.url), "utf8")
  const [, table = ""] = /\n## Macros\n[^]*?\n(\|[^]*?)\n\n/.exec(page) ?? []

  it("names every property of macros, and none that there is not", () => {
    const found = all(store({ i: "8A6ED242673", "{tls_version}": "TLSv1.3", "{auth_type}": "PLAIN" }))
    const properties = Object.entries(found).flatMap(([name, value]) =>
      typeof value === "object" ? Object.keys(value).map((property) => `${name}.${property}`) : [name]
    )
    const named = table.split("\n").slice(2).flatMap((row) =>
      Array.from(row.split("|")[1]!.matchAll(/`([^`]+)`/g), ([, name]) => name!)
    )
    assert.deepStrictEqual(named.toSorted(), properties.toSorted())
  })
})
