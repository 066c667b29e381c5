"""Amazon reviews of 2018, magazine subscriptions (Ni, Li and McAuley, EMNLP 2019)."""

from perennial.stream.sources.base import SourceInfo
from perennial.stream.sources.download import RemoteFile
from perennial.stream.sources.public_dataset import PublicDataSet, PublicFile

MAGAZINE = PublicDataSet(
    name="amazon-magazine",
    info=SourceInfo(
        summary="Amazon reviews 2018, magazine subscriptions, ratings only",
        size="89,689 rows, 72,098 users, 2,428 items; 4 MB",
        licence="none stated; the authors ask to be cited",
    ),
    files=(
        PublicFile(
            # UCSD publishes no checksum. This one is what the OmniRec library (ISG-Siegen/OmniRec)
            # verifies its own download of the same address against.
            remote=RemoteFile(
                folder=(
                    "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/categoryFilesSmall/"
                ),
                name="Magazine_Subscriptions.csv",
                checksum="sha256:40287d71ee0c49030ee222888fb21a95941c2c31344e15bdd2e58e0f63831c2d",
                checksum_from="the OmniRec project (UCSD publishes none)",
                max_bytes=50_000_000,
            ),
            name="ratings.csv",
            # The ratings-only files have no header, and the item before the user.
            header=b"item_id,user_id,rating,timestamp\n",
            max_bytes=50_000_000,
        ),
    ),
)
