"""Conditions of glands, gut, kidney, mind, women, children, and infections. Synthetic; not medical advice."""

from tunebook.data.generators.clinical_condition import Condition

GENERAL = (
    Condition(
        "new type 2 diabetes", (42, 70), "FM", "two months | three months | five months",
        "thirst and frequent urination for {t} | tiredness and blurred vision for {t} | repeated skin "
        "infections and thirst for {t}",
        "{He} has a body mass index of 34 | {His} sister takes metformin | {He} drives a truck and rarely "
        "exercises",
        "a fasting glucose of 11.4 mmol/L | an HbA1c of 68 mmol/mol | a blood pressure of 146/88 mmHg | no "
        "ketones in the urine | normal sensation in the feet",
        "advice on diet, exercise, and weight | metformin | eye, kidney, and foot checks | a lipid profile "
        "| a repeat HbA1c in three months",
    ),
    Condition(
        "diabetic ketoacidosis", (16, 38), "FM", "one day | two days | three days",
        "vomiting and abdominal pain for {t} | thirst, deep breathing, and drowsiness for {t} | nausea and "
        "weight loss that became worse {t} ago",
        "{He} has type 1 diabetes and missed insulin doses | {He} has had thirst for a month | {He} has a "
        "chest infection",
        "a blood glucose of 28 mmol/L | a venous pH of 7.14 | ketones of 5.6 mmol/L | deep, sighing breaths "
        "| dry mucous membranes",
        "intravenous saline and a fixed-rate insulin infusion | treatment of the trigger | potassium "
        "replacement guided by levels | hourly glucose and ketones | a search for infection",
    ),
    Condition(
        "primary hypothyroidism", (28, 66), "F", "four months | six months | one year",
        "tiredness and weight gain for {t} | constipation and dry skin for {t} | feeling cold and slow for "
        "{t}",
        "{His} aunt has thyroid disease | {He} has vitiligo | {He} has type 1 diabetes",
        "a heart rate of 54 per minute | a TSH of 38 mU/L | a small, firm goitre | slow relaxation of the "
        "ankle reflex | coarse, dry skin",
        "levothyroxine | thyroid peroxidase antibodies | a repeat TSH in six to eight weeks | a lipid "
        "profile | advice on taking tablets before breakfast",
    ),
    Condition(
        "Graves' disease", (22, 50), "F", "six weeks | two months | four months",
        "palpitations and weight loss for {t} | trembling hands and heat intolerance for {t} | poor sleep "
        "and irritability for {t}",
        "{He} smokes | {He} eats more than usual | {His} mother had an overactive thyroid",
        "a diffuse goitre with a bruit | a heart rate of 112 per minute | a suppressed TSH with a high free "
        "T4 | prominent eyes with lid lag | a fine tremor",
        "carbimazole | a beta blocker for symptoms | thyroid receptor antibodies | referral to "
        "endocrinology | advice to report sore throat or fever",
    ),
    Condition(
        "iron deficiency anaemia", (22, 48), "F", "two months | four months | six months",
        "tiredness and breathlessness on stairs for {t} | pale skin and hair loss for {t} | craving for ice "
        "and fatigue for {t}",
        "{He} has heavy periods | {He} eats no meat | {He} gave blood three times this year",
        "a haemoglobin of 88 g/L | a ferritin of 5 microg/L | pale conjunctivae | spoon-shaped nails | a "
        "mean cell volume of 70 fL",
        "oral iron | a search for the source of blood loss | tests for coeliac disease | treatment of heavy "
        "periods if present | a repeat blood count in four weeks",
    ),
    Condition(
        "coeliac disease", (18, 48), "FM", "three months | five months | nine months",
        "bloating and loose stools for {t} | weight loss and diarrhoea for {t} | abdominal cramps after "
        "bread for {t}",
        "{His} sister has type 1 diabetes | {He} has low iron stores | {He} has an itchy rash on the elbows",
        "a raised tissue transglutaminase antibody | a low ferritin | a body mass index of 18.6 | mouth "
        "ulcers | a mildly distended abdomen",
        "duodenal biopsy while eating gluten | a gluten-free diet after confirmation | referral to a "
        "dietitian | iron, folate, and vitamin D levels | a bone density scan",
    ),
    Condition(
        "gastro-oesophageal reflux disease", (28, 62), "FM", "six weeks | two months | four months",
        "burning behind the breastbone after meals for {t} | acid taste and cough at night for {t} | "
        "heartburn on lying down for {t}",
        "{He} drinks much coffee and eats late | {He} has gained ten kilograms | {He} has no trouble "
        "swallowing",
        "a body mass index of 31 | mild upper abdominal tenderness | a normal blood count | stable vital "
        "signs | a normal ECG",
        "a proton pump inhibitor for four to eight weeks | smaller and earlier evening meals | weight loss "
        "| a raised head of the bed | endoscopy if alarm symptoms appear",
    ),
    Condition(
        "a bleeding peptic ulcer", (46, 80), "FM", "six hours | twelve hours | one day",
        "black stools and dizziness for {t} | vomiting of dark blood for {t} | faintness and upper "
        "abdominal pain for {t}",
        "{He} takes naproxen for back pain | {He} had Helicobacter pylori years ago | {He} takes aspirin "
        "every day",
        "black stool on rectal examination | a haemoglobin of 79 g/L | a blood pressure of 92/54 mmHg | a "
        "heart rate of 118 per minute | tenderness in the upper abdomen",
        "intravenous access and fluids | urgent endoscopy | a proton pump inhibitor and no "
        "anti-inflammatory drugs | cross-matched blood | a test for Helicobacter pylori",
    ),
    Condition(
        "acute pancreatitis", (34, 68), "FM", "eight hours | one day | two days",
        "severe upper abdominal pain through to the back for {t} | vomiting and constant abdominal pain for "
        "{t} | pain that eases on leaning forward for {t}",
        "{He} drinks a bottle of spirits every two days | {He} has gallstones | {He} has very high "
        "triglycerides",
        "a lipase five times the upper limit | tenderness with guarding in the upper abdomen | a heart rate "
        "of 110 per minute | a temperature of 37.9 C | quiet bowel sounds",
        "intravenous fluids and close monitoring | opioid analgesia | ultrasound of the bile ducts | early "
        "feeding as tolerated | treatment of the cause",
    ),
    Condition(
        "irritable bowel syndrome", (19, 42), "FM", "six months | one year | two years",
        "cramps that ease after passing stool for {t} | bloating and changing bowel habits for {t} | loose "
        "stools on stressful days for {t}",
        "{He} has stable weight | {He} started a new job this year | {He} has no family history of bowel "
        "disease",
        "a normal blood count with a normal C-reactive protein | a normal faecal calprotectin | a soft "
        "abdomen | negative coeliac antibodies | mild left-sided tenderness",
        "explanation and reassurance | a trial of soluble fibre | a low-FODMAP diet with a dietitian | an "
        "antispasmodic drug | a return visit if bleeding or weight loss appears",
    ),
    Condition(
        "acute pyelonephritis", (19, 45), "F", "one day | two days | three days",
        "fever and flank pain for {t} | shivering and burning on urination for {t} | back pain, nausea, and "
        "frequent urination for {t}",
        "{He} has had two bladder infections this year | {He} is not pregnant | {He} has no kidney stones",
        "tenderness over the right kidney | a temperature of 39.0 C | nitrites and white cells in the urine "
        "| a heart rate of 104 per minute | a soft lower abdomen",
        "urine culture before antibiotics | an oral antibiotic by local guidance | fluids and paracetamol | "
        "admission if vomiting or unstable | kidney ultrasound if there is no response",
    ),
    Condition(
        "a ureteric stone", (26, 58), "M", "two hours | four hours | ten hours",
        "waves of flank pain that spread to the groin for {t} | severe left flank pain and vomiting for {t} "
        "| colicky back pain and pink urine for {t}",
        "{He} drinks little water at work | {He} passed a stone five years ago | {He} cannot lie still",
        "blood in the urine on dipstick | tenderness of the flank | a temperature of 36.8 C | a soft "
        "abdomen | a normal creatinine",
        "an anti-inflammatory drug for pain | a low-dose CT of the urinary tract | urgent review if fever "
        "appears | tamsulosin for a distal stone | straining of the urine to catch the stone",
    ),
    Condition(
        "infectious mononucleosis", (15, 24), "FM", "five days | one week | two weeks",
        "sore throat and deep tiredness for {t} | swollen neck glands and fever for {t} | painful "
        "swallowing and fatigue for {t}",
        "{He} got a rash after amoxicillin | {His} roommate had the same illness | {He} plays rugby",
        "enlarged tonsils with white coating | tender posterior neck nodes | a palpable spleen | a "
        "temperature of 38.4 C | atypical lymphocytes on the film",
        "fluids, rest, and paracetamol | a heterophile antibody test | no contact sport for four weeks | "
        "avoidance of amoxicillin | advice that tiredness may last for weeks",
    ),
    Condition(
        "early Lyme disease", (12, 68), "FM", "four days | one week | twelve days",
        "a growing ring-shaped rash on the thigh for {t} | a red patch with a clear centre for {t} | a "
        "painless spreading rash and mild fatigue for {t}",
        "{He} removed a tick two weeks ago | {He} hikes in forests | {He} picked berries this month",
        "a rash eleven centimetres wide | central clearing of the rash | no joint swelling | a temperature "
        "of 37.3 C | normal facial movement",
        "oral doxycycline | treatment on clinical grounds without antibody tests | advice on tick removal | "
        "review if joint or nerve symptoms appear | a photograph of the rash for follow-up",
    ),
    Condition(
        "a major depressive episode", (22, 64), "FM", "one month | two months | three months",
        "low mood and loss of interest for {t} | early waking and poor appetite for {t} | tearfulness and "
        "lack of energy for {t}",
        "{He} lost {his} job this year | {He} had a similar time at twenty | {He} has stopped seeing "
        "friends",
        "slow speech with little eye contact | a PHQ-9 score of 18 | no plans of self-harm | a normal "
        "thyroid test | no signs of psychosis",
        "a full assessment of safety | cognitive behavioural therapy | discussion of an SSRI | review "
        "within two weeks | support with sleep, exercise, and contact",
    ),
    Condition(
        "an ectopic pregnancy", (21, 40), "F", "six hours | one day | two days",
        "lower abdominal pain and spotting for {t} | one-sided pelvic pain for {t} | pelvic pain and a "
        "dizzy spell {t} ago",
        "{He} is seven weeks past {his} last period | {He} had pelvic inflammatory disease | {He} had a "
        "tubal operation",
        "a positive pregnancy test | tenderness on moving the cervix | an empty uterus on ultrasound | a "
        "heart rate of 108 per minute | tenderness in the left lower abdomen",
        "urgent gynaecology review | transvaginal ultrasound and serum hCG | intravenous access and a blood "
        "group | surgery if unstable | methotrexate only if strict criteria are met",
    ),
    Condition(
        "croup", (2, 4), "FM", "one day | two days | three nights",
        "a barking cough and hoarse voice for {t} | noisy breathing at night for {t} | a runny nose and "
        "barking cough for {t}",
        "{He} is fully vaccinated | {He} has an older brother with a cold | {He} is drinking well",
        "inspiratory stridor when crying | mild recession of the chest wall | a temperature of 38.0 C | an "
        "oxygen saturation of 97% on room air | no drooling",
        "a single dose of oral dexamethasone | a calm setting on the parent's lap | nebulised adrenaline if "
        "severe | observation until stridor at rest has gone | advice on when to return",
    ),
)  # fmt: skip
