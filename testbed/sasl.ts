/** SMTP AUTH for Postfix: a password checker that it asks as it would ask Dovecot, and TLS, without which few offer AUTH. */
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Tls from "node:tls"
import type { Settings } from "./postfix.ts"
import type { SmtpConnection } from "./smtpClient.ts"

const listen = (onConnection: (socket: Net.Socket) => void) =>
  Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer(onConnection)
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  ).pipe(
    Effect.map((server) => (server.address() as Net.AddressInfo).port) // it listens on TCP
  )

const hello = ["VERSION\t1\t2", "MECH\tPLAIN\tplaintext", "SPID\t1", "CUID\t1", `COOKIE\t${"0".repeat(32)}`, "DONE", ""]

/** The answer to `AUTH ID PLAIN … resp=…` or `CONT ID …`: fields separated by tabs, the credentials in Base64. */
const check = (passwords: { readonly [user: string]: string }, line: string): string => {
  const [command, id, ...rest] = line.split("\t")
  if (command !== "AUTH" && command !== "CONT") return ""
  const response = command === "CONT" ? rest[0] : rest.find((field) => field.startsWith("resp="))?.slice(5)
  if (response === undefined) return `CONT\t${id}\t\n`
  const [, user = "", password] = Buffer.from(response, "base64").toString("utf8").split("\0")
  return passwords[user] === password ? `OK\t${id}\tuser=${user}\n` : `FAIL\t${id}\tuser=${user}\n`
}

/** Checks passwords while the scope is open. Gives the settings for main.cf; the mechanism is PLAIN. */
export const settings = Effect.fnUntraced(function*(passwords: { readonly [user: string]: string }) {
  const port = yield* listen((socket) => {
    let rest = ""
    socket.setEncoding("utf8").on("error", () => socket.destroy())
    socket.write(hello.join("\n"))
    socket.on("data", (text: string) => {
      const lines = (rest + text).split("\n")
      rest = lines.pop() ?? ""
      for (const line of lines) socket.write(check(passwords, line))
    })
  })
  const found: Settings = {
    smtpd_sasl_auth_enable: "yes",
    smtpd_sasl_type: "dovecot",
    smtpd_sasl_path: `inet:127.0.0.1:${port}`
  }
  return found
})

/** EHLO and AUTH. */
export const login = Effect.fnUntraced(function*(client: SmtpConnection, user: string, password: string) {
  yield* client.command("EHLO client.example.org")
  return yield* client.command(`AUTH PLAIN ${Buffer.from(`\0${user}\0${password}`).toString("base64")}`)
})

/** Settings of a listener that begins with TLS (port 465), with a certificate of its own. */
export const tls = Effect.acquireRelease(
  Effect.sync(() => {
    const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-tls-"))
    const [certificate, key] = ["cert.pem", "key.pem"].map((name) => Path.join(directory, name)) as [string, string]
    const subject = ["-subj", "/CN=mx.test.example", "-days", "2"]
    const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    execFileSync("openssl", ["req", "-x509", ...newKey, "-keyout", key, "-out", certificate, ...subject], {
      stdio: "ignore"
    })
    return { certificate, directory, key }
  }),
  ({ directory }) => Effect.sync(() => Fs.rmSync(directory, { recursive: true, force: true }))
).pipe(
  Effect.map(({ certificate, key }): Settings => ({
    smtpd_tls_wrappermode: "yes",
    smtpd_tls_cert_file: certificate,
    smtpd_tls_key_file: key
  }))
)

/** A port that passes everything on to a TLS port, for clients that do not speak it. */
export const tlsTunnel = (port: number) =>
  listen((socket) => {
    const server = Tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false })
    socket.pipe(server).pipe(socket)
    for (const [one, other] of [[socket, server], [server, socket]] as const) {
      one.on("error", () => other.destroy())
      one.on("close", () => other.destroy())
    }
  })
