"""Texts in several languages and in code, to count tokens of."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "English": (
        "A gateway stands between the people who build applications and the models that answer them. It knows who is "
        "calling, what they may ask for, and how much of it is left this month. When a provider falls silent in the "
        "middle of an answer, somebody still has to say how many tokens were used; guessing too little makes a budget "
        "meaningless, and guessing too much makes its owner angry.\n\nSo it counts. Not while the answer is on its "
        "way, because nobody should wait for a bookkeeper, but right afterwards, and only if the provider kept the "
        "number to itself.\n"
    ),
    "German": (
        "Ein Gateway steht zwischen den Menschen, die Anwendungen bauen, und den Modellen, die ihnen antworten. Es "
        "weiß, wer anruft, wonach gefragt werden darf und wie viel davon in diesem Monat noch übrig ist. Verstummt ein "
        "Anbieter mitten in einer Antwort, muss trotzdem jemand sagen, wie viele Token verbraucht wurden. Wer zu wenig "
        "schätzt, macht die Haushaltsgrenze bedeutungslos; wer zu viel schätzt, verärgert den Kostenstellen"
        "verantwortlichen. Deshalb wird gezählt, und zwar erst nachher.\n"
    ),
    "French": (
        "Une passerelle se tient entre ceux qui construisent des applications et les modèles qui leur répondent. Elle "
        "sait qui appelle, ce qui peut être demandé et combien il en reste pour ce mois-ci. Lorsqu'un fournisseur se "
        "tait au milieu d'une réponse, il faut bien que quelqu'un dise combien de jetons ont été consommés. C'est "
        "pourquoi elle compte, mais seulement après coup, et seulement si personne d'autre ne l'a fait.\n"
    ),
    "Spanish": (
        "Una pasarela se sitúa entre quienes construyen aplicaciones y los modelos que les responden. Sabe quién "
        "llama, qué se puede pedir y cuánto queda para este mes. Si un proveedor se queda callado en mitad de una "
        "respuesta, alguien tiene que decir cuántos tokens se han usado. Por eso cuenta, aunque solo después, cuando "
        "ya nadie está esperando.\n"
    ),
    "Russian": (
        "Шлюз стоит между теми, кто пишет приложения, и моделями, которые им отвечают. Он знает, кто звонит, о чём "
        "можно спрашивать и сколько осталось на этот месяц. Если поставщик замолкает посреди ответа, кто-то всё равно "
        "должен сказать, сколько токенов было израсходовано. Поэтому он считает, но только потом, когда уже никто не "
        "ждёт.\n"
    ),
    "Greek": (
        "Η πύλη στέκεται ανάμεσα σε όσους φτιάχνουν εφαρμογές και στα μοντέλα που τους απαντούν. Ξέρει ποιος καλεί, τι "
        "επιτρέπεται να ζητηθεί και πόσο απομένει για αυτόν τον μήνα. Αν ένας πάροχος σωπάσει στη μέση μιας απάντησης, "
        "κάποιος πρέπει να πει πόσα χρησιμοποιήθηκαν.\n"
    ),
    "Chinese": (
        "网关位于构建应用的人和回答他们的模型之间。它知道谁在调用、可以请求什么，以及这个月还剩多少额度。"
        "如果供应商在回答到一半时沉默了，总得有人说明用掉了多少词元。估得太少，预算就失去意义；估得太多，"
        "预算的主人会生气。所以它会计数，但只在事后计数，而且只在供应商没有报告的时候才这样做。\n"
    ),
    "Japanese": (
        "ゲートウェイは、アプリケーションを作る人々と、それに答えるモデルの間に立っています。誰が呼び出しているのか、"
        "何を尋ねてよいのか、今月はあとどれだけ残っているのかを知っています。提供者が回答の途中で黙ってしまっても、"
        "何トークン使われたかを誰かが言わなければなりません。だから後で数えるのです。\n"
    ),
    "Korean": (
        "게이트웨이는 애플리케이션을 만드는 사람들과 그들에게 답하는 모델 사이에 서 있습니다. 누가 호출하는지, 무엇을 "
        "요청할 수 있는지, 이번 달에 얼마나 남았는지 알고 있습니다. 공급자가 답변 중간에 침묵하더라도 몇 개의 토큰이 "
        "사용되었는지 누군가는 말해야 합니다. 그래서 나중에 셉니다.\n"
    ),
    "Arabic": (
        "تقف البوابة بين من يبنون التطبيقات والنماذج التي تجيبهم. فهي تعرف من يتصل، وما الذي يجوز طلبه، وكم بقي منه "
        "لهذا الشهر. وإذا صمت المزود في منتصف الإجابة، فلا بد أن يقول أحد كم رمزا استُهلك. لذلك فهي تعد، ولكن بعد ذلك "
        "فقط.\n"
    ),
    "Hindi": (
        "गेटवे उन लोगों के बीच खड़ा है जो अनुप्रयोग बनाते हैं और उन मॉडलों के बीच जो उन्हें उत्तर देते हैं। यह जानता है कि कौन बुला रहा है, "
        "क्या माँगा जा सकता है और इस महीने कितना बचा है। यदि प्रदाता उत्तर के बीच में चुप हो जाए, तो किसी को बताना होगा कि "
        "कितने टोकन खर्च हुए।\n"
    ),
    "Thai": (
        "เกตเวย์อยู่ระหว่างผู้ที่สร้างแอปพลิเคชันกับโมเดลที่ตอบพวกเขา มันรู้ว่าใครเรียกใช้ ขออะไรได้บ้าง และเดือนนี้เหลือเท่าไร "
        "หากผู้ให้บริการเงียบไปกลางคำตอบ ก็ต้องมีใครสักคนบอกว่าใช้โทเค็นไปเท่าไร\n"
    ),
    "emoji": (
        "Done ✅ 🚀🚀 — the family 👩‍👩‍👧‍👦 waves 👋🏽, flags 🇩🇪🇫🇷🇯🇵, "
        "keycap 1️⃣, heart ❤️‍🔥 and 🧑🏿‍🚀 too… 😀😃😄😁😆😅🤣😂\n"
    ),
    "Python": (
        "class TokenBucket:\n"
        '    """A bucket that fills at `rate` tokens a second, up to `burst`."""\n\n'
        "    def __init__(self, rate: float, burst: int) -> None:\n"
        "        self._rate = rate\n"
        "        self._burst = burst\n"
        "        self._level = float(burst)\n"
        "        self._since = time.monotonic()\n\n"
        "    def take(self, amount: int = 1) -> bool:\n"
        "        now = time.monotonic()\n"
        "        self._level = min(self._burst, self._level + (now - self._since) * self._rate)\n"
        "        self._since = now\n"
        "        if self._level < amount:\n"
        "            return False\n"
        "        self._level -= amount\n"
        "        return True\n"
    ),
    "JavaScript": (
        "export async function* readEvents(response) {\n"
        "  const decoder = new TextDecoder();\n"
        "  let rest = '';\n"
        "  for await (const chunk of response.body) {\n"
        "    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\\n\\n');\n"
        "    rest = lines.pop() ?? '';\n"
        "    for (const line of lines) {\n"
        "      if (line.startsWith('data: ') && line !== 'data: [DONE]') {\n"
        "        yield JSON.parse(line.slice(6));\n"
        "      }\n"
        "    }\n"
        "  }\n"
        "}\n"
    ),
    "JSON": (
        '{"quota":{"name":"monthly","unit":"Tokens","amount":5000000,"used":3127418,"window":{"calendar":"Month",'
        '"timeZone":"Europe/Berlin"},"alertAt":[80,100]},"consumers":[{"name":"search","tier":"premium","share":0.625},'
        '{"name":"support-bot","tier":"free","share":0.125}],"resets":"2026-12-01T00:00:00+01:00"}\n'
    ),
    "Markdown": (
        "## What is counted\n\n"
        "| source | meaning | error |\n|---|---|---|\n"
        "| `Reported` | the provider said so | none |\n"
        "| `Counted` | by the model's own tokenizer | below 1 % |\n"
        "| `Estimated` | from the number of bytes | see below |\n\n"
        "1. **Reserve** before the call.\n2. *Deliver*, piece by piece.\n3. Settle, exactly once.\n"
    ),
}
