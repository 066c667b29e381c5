"""Public logs, a few lines each in their published shapes: read right, or refused with options."""

import json
import re
import shlex
from dataclasses import dataclass

import pytest

from perennial.storage.base import ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.reading.staging import stage_log


@dataclass(frozen=True)
class Sample:
    """A published file, cut to a few lines, and the events in it, times in s since 1970."""

    name: str
    text: str
    users: str
    items: str
    times: list[float] | None
    refusal: str | None = None
    """Regular expression of the refusal without options, with a group for those that read it."""
    options: str = ""
    encoding: str = "utf-8"
    remark: str | None = None


def _lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


SAMPLES = {
    "MovieLens 100K": Sample("u.data", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
        "196 186", "242 302", [881250949, 891717742]),
    "MovieLens 1M": Sample("ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n", "1 1",
        "1193 661", [978300760, 978302109]),
    "MovieLens 20M": Sample("ratings.csv",
        "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,3.5,1112484676\n", "1 1", "2 29",
        [1112486027, 1112484676]),
    "MovieLens latest": Sample("ratings.csv",
        "userId,movieId,rating,timestamp\r\n1,1,4.0,964982703\r\n1,3,4.0,964981247\r\n", "1 1",
        "1 3", [964982703, 964981247]),
    "Amazon 2014, ratings": Sample("ratings_Beauty.csv",
        "A39HTATAQ9V7YF,0205616461,5.0,1369699200\nA3JM6GV9MNOF9X,B00155Z6V2,3.0,1355443200\n",
        "A39HTATAQ9V7YF A3JM6GV9MNOF9X", "0205616461 B00155Z6V2", [1369699200, 1355443200]),
    "Amazon 2018, ratings": Sample("Magazine_Subscriptions.csv",
        "B00005N7P0,AH2IFH762VY5U,5.0,1005177600\n0205616461,AOSFI0JEYU4XM,5.0,1004486400\n",
        "AH2IFH762VY5U AOSFI0JEYU4XM", "B00005N7P0 0205616461", [1005177600, 1004486400]),
    "Amazon 2014, reviews": Sample("reviews_Books_5.json",
        _lines({"reviewerID": "A10000012B7CGYKOMPQ4L", "asin": "000100039X",
        "reviewerName": 'Adam "Ad"', "helpful": [2, 3], "reviewText": "Spiritual, good\n!",
        "overall": 5.0, "summary": "Wonderful", "unixReviewTime": 1355616000,
        "reviewTime": "12 16, 2012"}), "A10000012B7CGYKOMPQ4L", "000100039X", [1355616000]),
    "Amazon 2018, reviews": Sample("Books_5.json", _lines({"overall": 5.0, "vote": "2",
        "verified": True, "reviewTime": "01 1, 2018", "reviewerID": "AUI6WTTT0QZYS",
        "asin": "5120053084", "style": {"Size:": " Large"}, "reviewerName": "Abbey",
        "reviewText": "é", "summary": "Love it", "unixReviewTime": 1514764800, "image": ["a.jpg"]}),
        "AUI6WTTT0QZYS", "5120053084", [1514764800]),
    "Amazon 2023, ratings": Sample("All_Beauty.csv",
        "user_id,parent_asin,rating,timestamp\nAGKHLEW2SOWHNMFQIJGBECAF7INQ,B081TJ8YS3,4.0,"
        "1588615855070\n", "AGKHLEW2SOWHNMFQIJGBECAF7INQ", "B081TJ8YS3", [1588615855.07]),
    "Amazon 2023, reviews": Sample("All_Beauty.jsonl", _lines({"rating": 5.0, "title": "Such",
        "text": "This spray", "images": [{"hi": "a.jpg"}], "asin": "B00YQ6X8EO",
        "parent_asin": "B00YQ6X8E1", "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
        "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": True}),
        "AGKHLEW2SOWHNMFQIJGBECAF7INQ", "B00YQ6X8E1", [1588687728.923]),
    "Netflix": Sample("combined_data_1.txt",
        "1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n2:\n1488844,4,2005-12-26\n",
        "1488844 822109 1488844", "1 1 2", [1125964800, 1115942400, 1135555200]),
    "Douban": Sample("moviereviews_cleaned.txt",
        '"user_id"\t"movie_id"\t"rating"\t"comment"\t"time"\t"labels"\t"useful_num"\n'
        '"14"\t"1418019"\t"4"\t"好看"\t"2008-04-01"\t"爱情 美国"\t"0"\n'
        '"14"\t"1291546"\t"5"\t"他说\\"再见\\"\n\t第二行"\t"2009-10-30"\t"N/A"\t"1"\n', "14 14",
        "1418019 1291546", [1207008000, 1256860800]),
    "Yelp": Sample("yelp_academic_dataset_review.json",
        _lines({"review_id": "KU_O5udG6zpxOg-VcAEodg", "user_id": "mh_-eMZ6K5RLWhZyISBhwA",
        "business_id": "XQfwVwDr-v0ZS3_CbbE5Xw", "stars": 3.0, "useful": 0, "funny": 0, "cool": 0,
        "text": "If you decide\n\nto eat", "date": "2018-07-07 22:09:11"}),
        "mh_-eMZ6K5RLWhZyISBhwA", "XQfwVwDr-v0ZS3_CbbE5Xw", [1531001351]),
    "Steam, purchases": Sample("steam-200k.csv",
        "151603712,The Elder Scrolls V Skyrim,purchase,1.0,0\n"
        '151603712,"Fallout 4",play,87.0,0\n5250,Half-Life 2,purchase,1.0,0\n',
        "151603712 151603712 5250", "The_Elder_Scrolls_V_Skyrim Fallout_4 Half-Life_2", None),
    "Last.fm 360K": Sample("usersha1-artmbid-artname-plays.tsv",
        "00000c289a1829a808ac09c00daf10bc3c4e223b\t3bd73256-3905-4f3a-97e2-8b341527f805\t"
        "betty blowtorch\t2137\n"
        '00001411dc427966b17297bf4d69e7e193135d89\tf2fb0ff0-5679-42ec-a55c-15109ce6e320\t"die"\t9\n',
        "00000c289a1829a808ac09c00daf10bc3c4e223b 00001411dc427966b17297bf4d69e7e193135d89",
        "3bd73256-3905-4f3a-97e2-8b341527f805 f2fb0ff0-5679-42ec-a55c-15109ce6e320", None),
    "Last.fm 1K": Sample("userid-timestamp-artid-artname-traid-traname.tsv",
        "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71-bd35-4e99-8624-24a6e15f133a\tDeep Dish\t\t"
        'Famous "Pacha" (Ibiza)-09-28-2007\n'
        "user_000001\t2009-05-04T13:54:10Z\ta7f7df4a-77d8-4f12-8acd-5c60c93f4de8\tUA\t\tComp\n",
        "user_000001 user_000001",
        "f1b1cf71-bd35-4e99-8624-24a6e15f133a a7f7df4a-77d8-4f12-8acd-5c60c93f4de8",
        [1241478537, 1241445250],
        refusal=r"column 2, in the place of the items, seems to hold times .* such as (.*)"),
    "Gowalla": Sample("loc-gowalla_totalCheckins.txt",
        "0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n"
        "0\t2010-10-18T22:17:43Z\t30.2691029532\t-97.7493953705\t420315\n", "0 0", "22847 420315",
        [1287532527, 1287440263],
        refusal=r"column 2, in the place of the items, seems to hold times .* such as (.*)"),
    "Foursquare": Sample("dataset_TSMC2014_NYC.txt",
        "470\t49bbd6c0f964a520f4531fe3\t4bf58dd8d48988d127951735\tCafé\t40.719810\t-74.002581\t"
        "-240\tTue Apr 03 18:00:09 +0000 2012\n"
        "979\t4a43c0aef964a520c6a61fe3\t4bf58dd8d48988d1df941735\tBridge\t40.606799\t-74.044170\t"
        "-240\tTue Apr 03 18:00:25 +0000 2012\n", "470 979",
        "49bbd6c0f964a520f4531fe3 4a43c0aef964a520c6a61fe3", [1333476009, 1333476025],
        encoding="latin-1", refusal=r"invalid UTF-8.* such as (--encoding latin-1)"),
    "Book-Crossing": Sample("BX-Book-Ratings.csv",
        '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n'
        '"276726";"\\"0432534220\\"";"5"\n"276729";"Kl\xf6ster";"3"\n', "276725 276726 276729",
        '034545104X "0432534220" Klöster', None, encoding="latin-1",
        refusal=r"invalid UTF-8.* such as (--encoding latin-1)"),
    "RetailRocket": Sample("events.csv",
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
        "1433224214164,992329,transaction,248676,4000\n", "257597 992329", "355908 248676",
        [1433221332.117, 1433224214.164]),
    "YOOCHOOSE": Sample("yoochoose-clicks.dat",
        "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n", "1 1",
        "214536502 214536500", [1396867869.277, 1396868049.868],
        refusal=r"column 2, in the place of the items, seems to hold times .* such as (.*)"),
    "DIGINETICA": Sample("train-item-views.csv",
        "sessionId;userId;itemId;timeframe;eventdate\n1;NA;81766;526309;2016-05-09\n"
        "1;NA;31331;1031018;2016-05-09\n2;56;32118;243569;2016-05-10\n", "1 1 2",
        "81766 31331 32118", [1462752000, 1462752000, 1462838400]),
    "Taobao": Sample("UserBehavior.csv",
        "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,buy,1511561733\n", "1 1",
        "2268318 2333346", [1511544070, 1511561733]),
    "Tmall": Sample("user_log_format1.csv",
        "user_id,item_id,cat_id,seller_id,brand_id,time_stamp,action_type\n"
        "328862,323294,833,2882,2661.0,0829,0\n328862,844400,1271,2882,,1111,2\n", "328862 328862",
        "323294 844400", [967507200, 973900800],
        refusal=r"look like months and days: give (--time-format %m%d)"),
    "Tianchi": Sample("tianchi_mobile_recommend_train_user.csv",
        "user_id,item_id,behavior_type,user_geohash,item_category,time\n"
        "98047837,232431562,1,,4245,2014-12-06 02\n97726136,383583590,1,9q,5894,2014-12-09 20\n",
        "98047837 97726136", "232431562 383583590", [1417831200, 1418155200],
        refusal=r"give (--time-format '%Y-%m-%d %H')"),
    "REES46": Sample("2019-Oct.csv",
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,"
        "user_session\n2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,"
        "541312140,72d76fde-8bb3-4e00-8c23-a032dfed738c\n", "541312140", "44600062", [1569888000]),
    "OTTO": Sample("train.jsonl", _lines({"session": 12899779,
        "events": [{"aid": 59625, "ts": 1661724000278, "type": "clicks"},
        {"aid": 59625, "ts": 1661724058352, "type": "carts"}]}), "12899779 12899779", "59625 59625",
        [1661724000.278, 1661724058.352],
        refusal=r"columns lie inside lists or objects: give (.*)"),
    "Criteo": Sample("criteo_attribution_dataset.tsv",
        "timestamp\tuid\tcampaign\tconversion\tconversion_timestamp\tconversion_id\tattribution\t"
        "click\tclick_pos\tclick_nb\tcost\tcpo\ttime_since_last_click\tcat1\n"
        "0\t20073966\t22589171\t0\t-1\t-1\t0\t0\t-1\t-1\t1.0e-05\t0.39\t-1\t5824233\n"
        "2\t24607497\t884761\t0\t-1\t-1\t0\t0\t-1\t-1\t1.0e-05\t0.02\t423858\t30763035\n",
        "20073966 24607497", "22589171 884761", [0, 2],
        refusal=r"no item column among timestamp, uid, campaign.* --item-column",
        options="--item-column campaign", remark="seconds since 1970, and are before 1975"),
    "Instacart": Sample("order_products__prior.csv",
        "order_id,product_id,add_to_cart_order,reordered\n2,33120,1,1\n2,28985,2,1\n", "2 2",
        "33120 28985", None, refusal=r"no user column among order_id, product_id.* --user-column",
        options="--user-column order_id"),
    "H&M": Sample("transactions_train.csv", "t_dat,customer_id,article_id,price,sales_channel_id\n"
        "2018-09-20,000058a12d5b43e67d225668fa1f8d618c13dc232df0cad8ffe7ad4a1091e318,0663713001,"
        "0.050830508474576264,2\n",
        "000058a12d5b43e67d225668fa1f8d618c13dc232df0cad8ffe7ad4a1091e318", "0663713001",
        [1537401600]),
}  # fmt: skip


def parse_options(options):
    """Return the settings of options as they are written on a command line."""
    words = shlex.split(options)
    names = [word.removeprefix("--").replace("-", "_") for word in words[::2]]
    return IngestSettings(**dict(zip(names, words[1::2], strict=True)))


def read(store, path, options=""):
    return stage_log([path], parse_options(options), store.connection, ignore_progress)


def values(column):
    return [column.ids[code].as_py().replace(" ", "_") for code in column.codes.tolist()]


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_is_read_right(store, write, sample):
    path = write(sample.name, sample.text.encode(sample.encoding))
    options = sample.options
    if sample.refusal is not None:
        with pytest.raises(UserError) as refused:
            read(store, path)
        found = re.search(sample.refusal, str(refused.value))
        assert found, refused.value
        options = options or found[1]
    log = read(store, path, options)
    assert values(log.users) == sample.users.split()
    assert values(log.items) == sample.items.split()
    assert log.has_clock == (sample.times is not None)
    if sample.times is not None:
        assert (log.times * log.time_scale / 1e6).tolist() == sample.times
    assert (len(log.times), sum(map(len, log.rejects))) == (log.num_lines, 0)
    if sample.remark is not None:
        assert any(sample.remark in remark for remark in log.remarks)


@pytest.mark.parametrize(
    ("name", "text", "options", "words"),
    [
        ("australian_user_reviews.json",
         "{'user_id': '76561197970982479', 'reviews': [{'item_id': '1250', 'funny': ''}]}\n", "",
         "its lines are Python dictionaries"),
        ("steam_reviews.json",
         "{u'username': u'Chaos Syren', u'product_id': u'725280', u'date': u'2017-12-17'}\n", "",
         "its lines are Python dictionaries"),
        ("behaviors.tsv",
         "1\tU13740\t11/11/2019 9:05:58 AM\tN55189 N42782 N34694\tN55689-1 N35729-0\n"
         "2\tU91836\t11/12/2019 6:11:30 PM\tN31739 N6072\tN20678-0 N39317-0\n", "",
         "column 4 holds lists"),
        ("behaviors.tsv",
         "1\tU13740\t11/11/2019 9:05:58 AM\tN55189 N42782 N34694\tN55689-1 N35729-0\n",
         "--user-column 2 --item-column 5 --time-column 3", "column 5 holds lists"),
    ],
    ids=["Steam, items", "Steam, reviews", "MIND", "MIND, named"],
)  # fmt: skip
def test_is_refused_for_its_shape(store, write, name, text, options, words):
    with pytest.raises(UserError, match=words):
        read(store, write(name, text), options)
