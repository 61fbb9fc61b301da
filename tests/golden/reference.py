#!/usr/bin/env python3
"""Fills the last column of mos.txt: what G.107 (06/2015), G.107.1 and G.107.2 (06/2019) say of the
loss, bursts and delay that the other columns tell. Written from the equations of the
recommendations; it shares nothing with the appliance.

    python3 tests/golden/reference.py
"""
import math
import pathlib

FILE = pathlib.Path(__file__).with_name("mos.txt")

# Scale, Ie, Bpl, look-ahead and decoder delay in ms. PCMU and G.729A + VAD: G.113 (2024) Table
# I.4; GSM's Ie: G.113; the rest are estimates, as the appliance says with each score.
CODECS = {
    "PCMU/8000": ("nb", 0.0, 25.1, 3.75),
    "G729/8000": ("nb", 11.0, 19.0, 5.0),
    "GSM/8000": ("nb", 20.0, 10.0, 0.0),
    "G722/8000": ("wb", 13.0, 4.3, 1.5),
    "opus/48000/2": ("fb", 10.2, 4.3, 6.5),
}
# A packet of 20 ms and a jitter buffer of 60 ms.
TERMINAL_MS = 20.0 + 60.0


def power(db):
    return 10 ** (db / 10)


def no_dbm(nfor):
    """Sum of all noise at the 0 dBr point (G.107 equations 3 to 7), default telephones and rooms."""
    slr, rlr, ds, lstr, room = 8.0, 2.0, 3.0, 18.0, 35.0
    nos = room - slr - ds - 100 + 0.004 * (room - slr - rlr - ds - 14) ** 2
    pre = room + 10 * math.log10(1 + 10 ** ((10 - lstr) / 10))
    nor = rlr - 121 + pre + 0.008 * (pre - 35) ** 2
    return 10 * math.log10(power(-70) + power(nos) + power(nor) + power(nfor + rlr))


def idd(ta):
    """Equation 27."""
    if ta <= 100:
        return 0.0
    x = math.log2(ta / 100)
    return 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)


def idte(t, roe, terv, slope):
    re = 80 + slope * (terv - 14)
    half = (roe - re) / 2
    return (half + math.sqrt(half**2 + 100) - 1) * (1 - math.exp(-t))


def idle(ro, tr):
    rle = 10.5 * (110 + 7) * (tr + 1) ** -0.25
    return (ro - rle) / 2 + math.sqrt((ro - rle) ** 2 / 4 + 169)


def terv(t):
    return 65 - 40 * math.log10((1 + t / 10) / (1 + t / 150)) + 6 * math.exp(-0.3 * t * t)


def ie_eff(ie, bpl, ppl, burst_r, top):
    return ie + (top - ie) * ppl / (ppl / burst_r + bpl) if ppl > 0 else ie


def narrowband(ta, ie, bpl, ppl, burst_r):
    no = no_dbm(-64)
    ro = 15 - 1.5 * (8 + no)
    xolr = 10 + 0.2 * (64 + no - 2)
    iolr = 20 * ((1 + (xolr / 8) ** 8) ** (1 / 8) - xolr / 8)
    t = ta or 0.0
    stmro = -10 * math.log10(power(-15) + math.exp(-t / 4) * power(-65))
    ist = (12 * (1 + ((stmro - 13) / 6) ** 8) ** (1 / 8)
           - 28 * (1 + ((stmro + 1) / 19.4) ** 35) ** (1 / 35)
           - 13 * (1 + ((stmro - 3) / 33) ** 13) ** (1 / 13) + 29)
    q = 37.0
    g = 1.07 + 0.258 * q + 0.0602 * q * q
    y = (ro - 100) / 15 + 46 / 8.4 - g / 9
    iq = 15 * math.log10(1 + 10**y + 10 ** (46 / 30 - g / 40))
    delay = 0.0
    if ta is not None:
        talker = idte(t, -1.5 * (no - 2), terv(t), 2.5) if t >= 1 else 0.0
        delay = talker + idle(ro, 2 * t) + idd(t)
    r = ro - iolr - ist - iq - delay - ie_eff(ie, bpl, ppl, burst_r, 95)
    return r, 1.0


def wideband(ta, ie, bpl, ppl, _burst_r):
    """Equation 7-15 knows no burst ratio."""
    delay = 0.0
    if ta is not None:
        k = 0.08 * ta + 10 if ta < 100 else 18.0
        roe = -1.5 * (no_dbm(-96) - 2)
        delay = idte(ta, roe, terv(ta) + k, 3.0) + idle(129.0, 2 * ta) + 1.29 * idd(ta)
    return 129 - delay - ie_eff(ie, bpl, ppl, 1.0, 95), 1.29


def fullband(ta, ie, bpl, ppl, burst_r):
    return 148 - 1.48 * idd(ta or 0.0) - ie_eff(ie, bpl, ppl, burst_r, 132), 1.48


def mos(r):
    r = min(max(r, 0.0), 100.0)
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


def reference(line):
    described, counted, *_ = line.split("|")
    name, _loss, _losses, network_ms = described.split()
    lost, expected, burst_r = counted.split()
    scale, ie, bpl, look_ahead = CODECS[name]
    model = {"nb": narrowband, "wb": wideband, "fb": fullband}[scale]
    ppl = 100 * int(lost) / int(expected)
    ta = float(network_ms) + TERMINAL_MS + look_ahead
    # G.107 Table 3 permits 1 to 8; G.113 advises it for codecs of Bpl 16 and more only.
    burst_r = min(float(burst_r), 8.0) if bpl >= 16 else 1.0
    r_cq, top = model(ta, ie, bpl, ppl, burst_r)
    r_lq, _ = model(None, ie, bpl, ppl, burst_r)
    return f" {mos(r_cq / top):6.4f} {mos(r_lq / top):6.4f} {max(r_cq, 0):8.4f}"


header, *lines = FILE.read_text().splitlines()
filled = [line.rpartition("|")[0] + "|" + reference(line) for line in lines]
FILE.write_text("\n".join([header, *filled]) + "\n")
