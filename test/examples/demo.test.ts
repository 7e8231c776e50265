/** `npm run demo`, the first thing that a newcomer tries. */
import { assert, describe, it } from "@effect/vitest"
import * as ChildProcess from "node:child_process"

const root = new URL("../../", import.meta.url)

const run = (...args: ReadonlyArray<string>) =>
  ChildProcess.spawnSync(process.execPath, ["-C", "effect-milter-source", "examples/demo/demo.ts", ...args], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" }
  })

describe("the demo", () => {
  it("sends three messages through a filter", () => {
    const { status, stderr, stdout } = run()
    assert.strictEqual(stderr, "")
    assert.strictEqual(status, 0)
    assert.match(stdout, /^ {2}end of message +add header +X-Checked: not from us$/m)
    assert.match(stdout, /^ {4}\+ X-Checked: not from us$/m)
    assert.match(stdout, /^ {2}MAIL FROM:<mallory@example.com> +550 5\.7\.1 not allowed here!$/m)
    assert.match(stdout, /^ {2}RCPT TO:<busy@test.example> +451 4\.2\.1 on holiday$/m)
  })
})
