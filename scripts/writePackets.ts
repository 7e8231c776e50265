/** Writes docs/reference/packets.md from the declarations of the packets, or with --check says whether it is up to date. */
import * as Packet from "effect-milter/Packet"
import * as Fs from "node:fs"

const file = new URL("../docs/reference/packets.md", import.meta.url)
const text = `# Packets

Every packet is a length (u32, big endian, counting the code), a code byte and the fields below, in this order. A *string* ends
with a NUL byte; *bytes* go to the end of the packet; numbers are big endian. Made by \`npm run docs:packets\` from the
declarations in \`src/internal/wire/mtaPackets.ts\` and \`src/internal/wire/filterPackets.ts\`.

${Packet.table()}
`

if (process.argv.includes("--check")) {
  if (Fs.readFileSync(file, "utf8") !== text) {
    console.error("docs/reference/packets.md is out of date: run npm run docs:packets")
    process.exitCode = 1
  }
} else {
  Fs.writeFileSync(file, text)
}
