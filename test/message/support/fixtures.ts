/** Messages as mail programs write them, made up here; one character a byte, lines end with CR LF. */
import type { Mail } from "./mimeMessages.ts"

/** Header and body as one text with LF. */
export const mail = (text: string): Mail => {
  const lines = Buffer.from(text, "utf8").toString("latin1").replaceAll("\n", "\r\n")
  const end = lines.indexOf("\r\n\r\n")
  return {
    fields: lines.slice(0, end).split(/\r\n(?![ \t])/).map((line) => {
      const colon = line.indexOf(":")
      return [line.slice(0, colon), line.slice(colon + 1)] as const
    }),
    body: lines.slice(end + 4)
  }
}

const head = "From: alice@example.org\nSubject: hello\nMIME-Version: 1.0\n"

export const bare = mail("From: alice@example.org\nSubject: hello\n\nHello, Bob.\n")

export const latin = {
  fields: mail(`${head}Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\nx`).fields,
  body: "Gr\u00fc\u00dfe\r\n"
}

/** Webmail: both alternatives in quoted-printable. */
export const webmail = mail(`${head}Content-Type: multipart/alternative; boundary="000000000000a1b2c3"

--000000000000a1b2c3
Content-Type: text/plain; charset="UTF-8"
Content-Transfer-Encoding: quoted-printable

See you at the caf=C3=A9, a line that is long enough to have to be broken =
softly.

--000000000000a1b2c3
Content-Type: text/html; charset="UTF-8"
Content-Transfer-Encoding: quoted-printable

<div dir=3D"ltr">See you at the caf=C3=A9</div>

--000000000000a1b2c3--
`)

/** Apple Mail: text, file, text. */
export const apple = mail(`${head}Content-Type: multipart/mixed; boundary="Apple-Mail=_1"

--Apple-Mail=_1
Content-Transfer-Encoding: 7bit
Content-Type: text/plain; charset=us-ascii

The plan:

--Apple-Mail=_1
Content-Disposition: inline; filename=plan.pdf
Content-Type: application/pdf; name="plan.pdf"
Content-Transfer-Encoding: base64

JVBERi0xLjQK
--Apple-Mail=_1
Content-Transfer-Encoding: 7bit
Content-Type: text/plain; charset=us-ascii

Alice
--Apple-Mail=_1--
`)

/** Outlook: alternatives, of which the HTML has a picture; a file beside them. */
export const outlook = mail(`${head}Content-Type: multipart/mixed; boundary="_004_"

--_004_
Content-Type: multipart/related; boundary="_003_"; type="multipart/alternative"

--_003_
Content-Type: multipart/alternative; boundary="_000_"

--_000_
Content-Type: text/plain; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe

--_000_
Content-Type: text/html; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

<html>
<head><style>/* </body> */</style></head>
<body lang=3D"DE"><p>Gr=FC=DFe</p></body>
</html>

--_000_--

--_003_
Content-Type: image/png; name="image001.png"
Content-ID: <image001@example.org>
Content-Transfer-Encoding: base64

iVBORw0KGgo=

--_003_--

--_004_
Content-Type: application/pdf; name="offer.pdf"
Content-Disposition: attachment; filename="offer.pdf"; size=8
Content-Transfer-Encoding: base64

JVBERi0xLjQK

--_004_--
`)

export const invitation = mail(`${head}Content-Type: text/calendar; method=REQUEST; charset=utf-8

BEGIN:VCALENDAR
END:VCALENDAR
`)

export const invitationWithText = mail(`${head}Content-Type: multipart/alternative; boundary=c

--c
Content-Type: text/plain; charset=utf-8

Lunch?
--c
Content-Type: text/calendar; method=REQUEST; charset=utf-8

BEGIN:VCALENDAR
END:VCALENDAR
--c--
`)

export const amp = mail(`${head}Content-Type: multipart/alternative; boundary=c

--c
Content-Type: text/plain; charset=utf-8

Hello
--c
Content-Type: text/x-amp-html; charset=utf-8

<!doctype html><html amp4email><body>Hello</body></html>
--c
Content-Type: text/html; charset=utf-8

<html><body>Hello</body></html>
--c--
`)

export const signed = mail(
  `${head}Content-Type: multipart/signed; micalg=pgp-sha256; protocol="application/pgp-signature"; boundary=s

--s
Content-Type: text/plain; charset=utf-8

Signed
--s
Content-Type: application/pgp-signature; name=signature.asc

-----BEGIN PGP SIGNATURE-----
-----END PGP SIGNATURE-----
--s--
`
)

export const encrypted = mail(
  `${head}Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=e

--e
Content-Type: application/pgp-encrypted

Version: 1
--e
Content-Type: application/octet-stream

-----BEGIN PGP MESSAGE-----
--e--
`
)

export const smime = mail(`${head}Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m
Content-Transfer-Encoding: base64

MIAGCSqGSIb3DQEHA6CAMIACAQA=
`)

export const inlinePgp = mail(`${head}Content-Type: text/plain; charset=utf-8

-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Hello
-----BEGIN PGP SIGNATURE-----
`)

export const report = mail(`${head}Content-Type: multipart/report; report-type=delivery-status; boundary=r

--r
Content-Type: text/plain

Not delivered.
--r
Content-Type: message/delivery-status

Action: failed
--r--
`)

export const tnef = mail(`${head}Content-Type: application/ms-tnef; name=winmail.dat
Content-Transfer-Encoding: base64

eJ8+Ig==
`)

export const onePdf = mail(`${head}Content-Type: application/pdf; name=scan.pdf
Content-Disposition: attachment; filename=scan.pdf
Content-Transfer-Encoding: base64

JVBERi0xLjQK
`)

/** What a list server does to a signed message. */
export const listed = mail(`${head}Content-Type: multipart/mixed; boundary=l

--l
Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary=s

--s
Content-Type: text/plain

Signed
--s
Content-Type: application/pgp-signature

x
--s--

--l
Content-Type: text/plain; charset=us-ascii

_____
The list
--l--
`)

export const flowed = mail(`${head}Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes
Content-Transfer-Encoding: 8bit

A paragraph that flows 
`)

export const japanese: Mail = {
  fields: mail(`${head}Content-Type: text/html; charset=iso-2022-jp\nContent-Transfer-Encoding: 7bit\n\nx`).fields,
  // Two-byte characters whose bytes are "</body>" and "<!--"
  body: "<html><body>\x1b$B</body><!--\x1b(B</body></html>\r\n"
}

const inner = "Subject: inner\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=i\n\n" +
  "--i\nContent-Type: text/plain\n\nHello\n--i\nContent-Type: application/octet-stream; name=a.exe\n\nMZ\n--i--\n"

/** A message attached twice: as it is, and in base64 as some gateways do it. */
export const forwarded = mail(`${head}Content-Type: multipart/mixed; boundary=f

--f
Content-Type: text/plain

See below
--f
Content-Type: message/rfc822
Content-Disposition: attachment

${inner}
--f
Content-Type: message/rfc822
Content-Transfer-Encoding: base64

${btoa(inner.replaceAll("\n", "\r\n")).replace(/.{76}/g, "$&\n")}
--f--
`)

export const all = {
  bare,
  latin,
  webmail,
  apple,
  outlook,
  invitation,
  invitationWithText,
  amp,
  signed,
  encrypted,
  smime,
  inlinePgp,
  report,
  tnef,
  onePdf,
  listed,
  flowed,
  japanese,
  forwarded
}
