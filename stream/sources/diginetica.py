"""DIGINETICA sessions of the CIKM Cup 2016, in ADER's periods (Mi, Lin and Faltings, RecSys 2020).

Seventeen files, `period_0.txt` to `period_16.txt`. A line is `sessionId itemId`; there are no
times, line order is event order, and the sessions interleave.
"""

from perennial.stream.sources.base import SourceInfo
from perennial.stream.sources.download import RemoteFile
from perennial.stream.sources.public_dataset import PublicDataSet, PublicFile

_FOLDER = (
    "https://raw.githubusercontent.com/doublemul/ADER/"
    "d7fe071df04dd3282b0a9c50af29731ba0cda364/data/DIGINETICA/"
)

# Nobody publishes checksums of these files. These are the SHA-256 of a copy that stems from the
# repository above; lengths and endings of periods 0, 1, 2, 6, 15 and 16 were compared with what
# the repository shows.
_SHA256 = (
    "1c6f7164ad544a483804fc0324a2023801537e5e5db9af0a76d04eca2b83ec86",
    "a0bc2f94a53b8e72705ce23e738c29c809b37209f61f2af9c25dac7424cc6fe5",
    "b0fe7341216f27e2ac106e31136996503070c94e34314ca22814d4d62a4cd511",
    "39c05258bb230082d0fe24c637c29ff9e7ef0b692793f39ce54e2f69705c6abf",
    "e87a2a1c8abd165fa54773fe971776b5156a69cf8b34221e224c3d3b4b2e3d31",
    "61bbfeac8754c87281ada54df78c81c010dff7e15611e89eb7f5cb3c4db034cd",
    "c2a9213eaf6fb59950abd64e76f076da29a8001fa6dcd0556fcb73c09fb29e84",
    "6e30fe426a03960e991bf28109d5ead1c3a8c9a1df58e5560b05a130f453c732",
    "2b638a4006e7c7629bac001221d695a1e9aa2f46285feb63560908ef7f55cd12",
    "e571e5e3e72138ddbbc62c69963638d9a7bd0f561d7f29d99aa165561fd1df3c",
    "a995a8aa69574531f69c2f3324860c57402cd8d80476a10426379a07338b1e10",
    "061c7f1f6c8d9cf2c15902a3cfca54b766222ea5a2dcd935ee1ea6b49c59a2ab",
    "90dfbbd1f43ab54f5da6efe76a187ccaf48b0b5adfad2c5915004f2a5a2610fa",
    "a1dc91ba3177e4a0e49a6c14bd6cc7c9b93e6c0626f764a17fcd98fff1cb4a9d",
    "232890ce45e9c513d8f0220d013551216c308d2bfafe6b17e629a45e933f8ba1",
    "c8db7046711f34e01e421e36b071fe4b39580980c37e8042f50f8279c0287abf",
    "4725af9a09d73590cf8562ed354191a4d2c91ac19265dea2b7583219137988b3",
)


def _period(number: int) -> PublicFile:
    """Describe one of ADER's files, which is stored unchanged."""
    name = f"period_{number}.txt"
    checksum = f"sha256:{_SHA256[number]}"
    remote = RemoteFile(_FOLDER, name, checksum, "a known copy of ADER's data", 10_000_000)
    return PublicFile(remote, name, max_bytes=10_000_000)


SOURCE = PublicDataSet(
    name="diginetica",
    info=SourceInfo(
        summary="DIGINETICA shop sessions, 2016, in the 17 periods of ADER",
        size="993,483 rows, 204,789 sessions, 43,136 items; 12 MB",
        licence="none stated for the data; ADER's repository is under MIT",
    ),
    files=tuple(_period(number) for number in range(len(_SHA256))),
    cut="files",
)
