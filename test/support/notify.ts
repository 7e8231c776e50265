/** A service manager that reads what processes report to it (sd_notify). */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import { spawn } from "../../testbed/childProcess.ts"
import * as Listeners from "./listeners.ts"

/** Plays systemd: prints the datagrams, one line each. */
const receiver = `
import json, socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind(sys.argv[1])
print("receives", flush=True)
while True:
  print(json.dumps(server.recv(65536).decode().strip().split("\\n")), flush=True)
`

// systemd-notify is how Node sends, python3 how the test receives.
const notInstalled = ["systemd-notify", "python3"].filter((command) =>
  ChildProcess.spawnSync(command, ["--version"]).status !== 0
)

/** Why nothing can be received here, or undefined. */
export const missingPrerequisite = notInstalled.length === 0 ? undefined : `${notInstalled.join(" and ")} not found`

/** The service manager, and the environment of a process that reports to it. */
export const manager = Effect.gen(function*() {
  const path = Path.join(yield* Listeners.directory, "notify")
  const child = yield* spawn("python3", ["-c", receiver, path])
  yield* child.shows(/receives/)
  return { child, env: { NOTIFY_SOCKET: path } }
})

/** What has come so far, without the barriers that systemd-notify sends after its messages. */
export const messages = (output: string): ReadonlyArray<ReadonlyArray<string>> =>
  output.split("\n").filter((line) => line.startsWith("[") && !line.includes("BARRIER=1")).map((line) =>
    JSON.parse(line)
  )
